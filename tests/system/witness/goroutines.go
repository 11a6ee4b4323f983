// Many goroutines with small stacks make path calls while the collector and preemption run: what
// a monitor writes below the stack pointer must spoil nobody's memory.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const canary = 0x5ca1ab1e5ca1ab1e

var spoiled, failed int64

func fail(what string, err error) {
	if atomic.AddInt64(&failed, 1) < 5 {
		fmt.Fprintln(os.Stderr, what, err)
	}
}

// A frame full of known words around a raw call with a path, made near the end of a small stack.
//
//go:noinline
func guarded(number uintptr, path *byte) syscall.Errno {
	var before [24]uint64
	for i := range before {
		before[i] = canary + uint64(i)
	}
	_, _, err := syscall.RawSyscall(number, uintptr(unsafe.Pointer(path)), 0, 0)
	for i := range before {
		if before[i] != canary+uint64(i) {
			atomic.AddInt64(&spoiled, 1)
		}
	}
	return err
}

func sleeper(start *sync.WaitGroup, end chan struct{}, done *sync.WaitGroup) {
	defer done.Done()
	var words [96]uint64 // most of a 2 KB stack, read again after the others' calls
	for i := range words {
		words[i] = canary ^ uint64(i)
	}
	start.Done()
	<-end
	for i := range words {
		if words[i] != canary^uint64(i) {
			atomic.AddInt64(&spoiled, 1)
		}
	}
}

func caller(n int, dir string, done *sync.WaitGroup) {
	defer done.Done()
	path, _ := syscall.BytePtrFromString(dir)
	for i := 0; i < 3; i++ {
		if err := guarded(syscall.SYS_CHDIR, path); err != 0 {
			fail("chdir", err)
		}
	}
	name := filepath.Join(dir, fmt.Sprintf("s%d", n))
	listener, err := net.Listen("unix", name)
	if err != nil {
		fail("listen", err)
		return
	}
	client, err := net.Dial("unix", name)
	if err != nil {
		fail("dial", err)
	} else {
		client.Close()
	}
	listener.Close()
}

func locked(dir string, done *sync.WaitGroup) {
	defer done.Done()
	runtime.LockOSThread() // never unlocked: the thread, whose directory is its own, ends with us
	if err := syscall.Unshare(syscall.CLONE_FS); err != nil {
		fail("unshare", err)
	}
	for i := 0; i < 20; i++ {
		if err := os.Chdir(dir); err != nil {
			fail("chdir", err)
		}
		if here, err := syscall.Getwd(); err != nil || here != dir {
			fail("getwd "+here, err)
		}
		if err := os.Chdir("/"); err != nil {
			fail("chdir /", err)
		}
	}
}

func main() {
	top := os.Args[1]
	deep := filepath.Join(top, strings.Repeat("d", 200), strings.Repeat("e", 200), strings.Repeat("f", 200))
	short := filepath.Join(top, "x")
	for _, dir := range []string{deep, short} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			panic(err)
		}
	}
	stop := make(chan struct{})
	go func() { // preemption by SIGURG, and moving stacks
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	var sleeping, start, done sync.WaitGroup
	end := make(chan struct{})
	for i := 0; i < 400; i++ {
		start.Add(1)
		sleeping.Add(1)
		go sleeper(&start, end, &sleeping)
	}
	start.Wait()
	for i := 0; i < 60; i++ {
		done.Add(1)
		go caller(i, short, &done)
	}
	for i := 0; i < 8; i++ {
		done.Add(1)
		go locked([]string{deep, short}[i%2], &done)
	}
	done.Add(10)
	for i := 0; i < 10; i++ {
		go func() {
			defer done.Done()
			command := exec.Command("/bin/sh", "-c", "cd ..; pwd -P; exec /bin/echo ran")
			command.Dir = short
			out, err := command.Output()
			if err != nil || string(out) != top+"\nran\n" {
				fail("command "+string(out), err)
			}
		}()
	}
	done.Wait()
	close(end)
	sleeping.Wait()
	close(stop)
	fmt.Printf("spoiled %d, failed %d\n", spoiled, failed)
}
