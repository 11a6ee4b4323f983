// Serves one connection on an address and asks itself, by the runtime's own poller.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
)

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	check(err)
	done := make(chan string)
	go func() {
		served, err := listener.Accept()
		check(err)
		line, _ := bufio.NewReader(served).ReadString('\n')
		fmt.Fprintf(served, "%s came to %s\n", line[:len(line)-1], served.LocalAddr())
		served.Close()
		done <- "served"
	}()
	client, err := net.Dial("tcp", os.Args[1])
	check(err)
	fmt.Fprintln(client, "a line")
	answer, err := bufio.NewReader(client).ReadString('\n')
	check(err)
	fmt.Print(answer)
	fmt.Println(listener.Addr(), client.RemoteAddr(), <-done)
}
