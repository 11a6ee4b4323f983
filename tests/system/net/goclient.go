// Asks an HTTP server for / and prints what it sends, by the runtime's own poller.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	connection, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Fprintf(connection, "GET / HTTP/1.0\r\n\r\n")
	answer, _ := io.ReadAll(connection)
	fmt.Println(connection.RemoteAddr())
	os.Stdout.Write(answer[len(answer)-17:])
}
