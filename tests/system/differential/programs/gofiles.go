// What a static program without libc does with files, threads and children.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

func say(what string, err error) {
	fmt.Println(what, err)
}

func main() {
	cwd, err := os.Getwd()
	say(cwd, err)
	say("mkdir", os.MkdirAll("d/e/f", 0o750))
	var group sync.WaitGroup
	for n := 0; n < 40; n++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			name := fmt.Sprintf("d/%02d", n)
			if err := os.WriteFile(name, []byte(name), 0o640); err != nil {
				say("write", err)
			}
			if data, err := os.ReadFile(name); err != nil || string(data) != name {
				say("read", err)
			}
			if err := os.Rename(name, "d/e/"+filepath.Base(name)); err != nil {
				say("rename", err)
			}
		}(n)
	}
	group.Wait()
	say("walk", filepath.WalkDir("d", func(path string, entry fs.DirEntry, err error) error {
		fmt.Println(path, entry.Type(), err)
		return nil
	}))
	_, err = os.Stat("missing")
	say("stat", err)
	say("symlink", os.Symlink("e/00", "d/link"))
	target, err := filepath.EvalSymlinks("d/link")
	say(target, err)
	say("chdir", os.Chdir("d/e"))
	cwd, err = os.Getwd()
	say(cwd, err)
	for n := 0; n < 5; n++ {
		out, err := exec.Command("sh", "-c", fmt.Sprintf("pwd; cat %02d; exit %d", n, n)).CombinedOutput()
		say(string(out), err)
	}
	say("exec", exec.Command("./missing").Run())
	_, err = os.Create("/mnt/no/such")
	say("create", err)
	say("chmod", os.Chmod("00", 0o600))
	say("remove", os.Remove("01"))
	say("remove all", os.RemoveAll("../f"))
	executable, err := os.Executable()
	say(filepath.Base(executable), err)
	temporary, err := os.MkdirTemp("/mnt", "temp")
	say("temp", err)
	say("temp", os.Remove(temporary))
	os.Exit(3)
}
