// An echo server that closes connections early.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	numbers, err := os.OpenFile(os.Getenv("ECHO_LOG"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	echo := func(response http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		number := request.Header.Get("X-Number")
		fmt.Fprintln(numbers, number)
		response.Header().Set("Content-Type", "application/octet-stream")
		response.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if value, err := strconv.Atoi(number); err == nil && value%20 == 0 {
			response.Header().Set("Connection", "close")
		}
		response.Write(body)
	}
	server := http.Server{
		Addr:        "127.0.0.1:" + os.Args[1],
		Handler:     http.HandlerFunc(echo),
		IdleTimeout: time.Second,
	}
	log.Fatal(server.ListenAndServe())
}
