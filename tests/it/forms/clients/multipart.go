// usage: multipart.go URL
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
)

func main() {
	var names []string
	file, err := os.ReadFile(os.Getenv("NAMES"))
	check(err)
	check(json.Unmarshal(file, &names))
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	check(form.WriteField("model", "whisper-1"))
	for i, name := range names {
		// Go 1.19 sends line ends in file names as they are.
		name = strings.ReplaceAll(name, "\r\n", " ")
		part, err := form.CreateFormFile(fmt.Sprintf("file%d", i), name)
		check(err)
		_, err = part.Write([]byte("ID3\r\n--\r\n\xff"))
		check(err)
	}
	check(form.WriteField("language", "größe"))
	check(form.Close())
	_, err = http.Post(os.Args[1]+"/audio/transcriptions", form.FormDataContentType(), &body)
	check(err)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
