// A static program without libc: owners, modes and devices, by the system calls themselves.
package main

import (
	"fmt"
	"os"
	"syscall"
)

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func show(name string) {
	info, err := os.Lstat(name)
	check(err)
	s := info.Sys().(*syscall.Stat_t)
	fmt.Printf("%s %o %d:%d %x\n", name, s.Mode, s.Uid, s.Gid, s.Rdev)
}

func main() {
	fmt.Println(os.Getuid(), os.Geteuid(), os.Getgid())
	check(os.WriteFile("file", []byte("x"), 0o600))
	check(os.Chown("file", 5, 6))
	check(syscall.Chmod("file", 0o4755))
	check(os.Symlink("file", "link"))
	check(os.Lchown("link", 7, 8))
	check(syscall.Mknod("null", syscall.S_IFCHR|0o666, 1<<8|3))
	check(syscall.Setxattr("file", "trusted.x", []byte("1"), 0))
	for _, name := range []string{"file", "link", "null"} {
		show(name)
	}
	check(syscall.Setuid(1234)) // in all of its threads
	fmt.Println(os.Getuid(), os.Chown("file", 0, 0))
	show("file")
}
