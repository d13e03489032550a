// Readers of Go. ../python/worker.py describes the protocol.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/buger/jsonparser"
	"github.com/gin-gonic/gin"
	goccyyaml "github.com/goccy/go-yaml"
	hjson "github.com/hjson/hjson-go"
	jsoniter "github.com/json-iterator/go"
	"github.com/tidwall/gjson"
	"github.com/ugorji/go/codec"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"
	"gopkg.in/yaml.v3"
)

var errAbsent = errors.New("absent")

type request struct {
	Model *string `json:"model" yaml:"model" form:"model"`
}

func (r request) value() (string, error) {
	if r.Model == nil {
		return "", errAbsent
	}
	return *r.Model, nil
}

func show(value interface{}, found bool) (string, error) {
	if !found || value == nil {
		return "", errAbsent
	}
	if text, ok := value.(string); ok {
		return text, nil
	}
	return fmt.Sprintf("%T: %v", value, value), nil
}

func toMap(decode func([]byte, interface{}) error) reader {
	return func(_ string, body []byte) (string, error) {
		var data map[string]interface{}
		if err := decode(body, &data); err != nil {
			return "", err
		}
		value, found := data["model"]
		return show(value, found)
	}
}

func toStruct(decode func([]byte, interface{}) error) reader {
	return func(_ string, body []byte) (string, error) {
		var data request
		if err := decode(body, &data); err != nil {
			return "", err
		}
		return data.value()
	}
}

func httpRequest(contentType string, body []byte) *http.Request {
	r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

func ginContext(contentType string, body []byte) *gin.Context {
	context, _ := gin.CreateTestContext(httptest.NewRecorder())
	context.Request = httpRequest(contentType, body)
	return context
}

type reader func(contentType string, body []byte) (string, error)

type named struct {
	name string
	read reader
}

func decodeCodec(body []byte, data interface{}) error {
	return codec.NewDecoderBytes(body, &codec.JsonHandle{}).Decode(data)
}

func decodeStream(body []byte, data interface{}) error {
	return json.NewDecoder(bytes.NewReader(body)).Decode(data)
}

var jsonReaders = []named{
	{"encoding/json map", toMap(json.Unmarshal)},
	{"encoding/json struct", toStruct(json.Unmarshal)},
	{"encoding/json stream", toStruct(decodeStream)},
	{"jsoniter map", toMap(jsoniter.ConfigDefault.Unmarshal)},
	{"jsoniter struct", toStruct(jsoniter.ConfigDefault.Unmarshal)},
	{"jsoniter compatible", toStruct(jsoniter.ConfigCompatibleWithStandardLibrary.Unmarshal)},
	{"jsoniter fastest", toStruct(jsoniter.ConfigFastest.Unmarshal)},
	{"jsoniter get", func(_ string, body []byte) (string, error) {
		value := jsoniter.Get(body, "model")
		if value.ValueType() == jsoniter.InvalidValue {
			return "", errAbsent
		}
		return show(value.GetInterface(), true)
	}},
	{"ugorji map", toMap(decodeCodec)},
	{"ugorji struct", toStruct(decodeCodec)},
	{"jsonparser", func(_ string, body []byte) (string, error) {
		value, err := jsonparser.GetString(body, "model")
		if err == jsonparser.KeyPathNotFoundError {
			return "", errAbsent
		}
		return value, err
	}},
	{"gjson", func(_ string, body []byte) (string, error) {
		value := gjson.GetBytes(body, "model")
		return show(value.Value(), value.Exists())
	}},
	{"gjson valid", func(_ string, body []byte) (string, error) {
		if !gjson.ValidBytes(body) {
			return "", errors.New("invalid")
		}
		value := gjson.ParseBytes(body).Map()["model"]
		return show(value.Value(), value.Exists())
	}},
	{"fastjson", func(_ string, body []byte) (string, error) {
		value, err := fastjson.ParseBytes(body)
		if err != nil {
			return "", err
		}
		if !value.Exists("model") {
			return "", errAbsent
		}
		text, err := value.Get("model").StringBytes()
		return string(text), err
	}},
	{"yaml.v3 map", toMap(yaml.Unmarshal)},
	{"yaml.v3 struct", toStruct(yaml.Unmarshal)},
	{"goccy/go-yaml", toStruct(func(body []byte, data interface{}) error { return goccyyaml.Unmarshal(body, data) })},
	{"hjson", toMap(hjson.Unmarshal)},
	{"gin", func(contentType string, body []byte) (string, error) {
		var data request
		if err := ginContext(contentType, body).ShouldBindJSON(&data); err != nil {
			return "", err
		}
		return data.value()
	}},
}

var formReaders = []named{
	{"PostFormValue", func(contentType string, body []byte) (string, error) {
		r := httpRequest(contentType, body)
		if err := r.ParseMultipartForm(1 << 25); err != nil {
			return "", err
		}
		if values := r.PostForm["model"]; len(values) > 0 {
			return values[0], nil
		}
		return "", errAbsent
	}},
	{"multipart.Reader", func(contentType string, body []byte) (string, error) {
		_, parameters, err := mime.ParseMediaType(contentType)
		if err != nil {
			return "", err
		}
		parts := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
		for {
			part, err := parts.NextPart()
			if err == io.EOF {
				return "", errAbsent
			} else if err != nil {
				return "", err
			}
			if part.FormName() == "model" && part.FileName() == "" {
				value, err := io.ReadAll(part)
				return string(value), err
			}
		}
	}},
	{"gin", func(contentType string, body []byte) (string, error) {
		value, found := ginContext(contentType, body).GetPostForm("model")
		return show(value, found)
	}},
	{"gin bind", func(contentType string, body []byte) (string, error) {
		var data request
		if err := ginContext(contentType, body).ShouldBind(&data); err != nil {
			return "", err
		}
		return data.value()
	}},
	{"fasthttp", func(contentType string, body []byte) (string, error) {
		var r fasthttp.Request
		r.Header.SetMethod("POST")
		r.Header.SetContentType(contentType)
		r.SetBody(body)
		form, err := r.MultipartForm()
		if err != nil {
			return "", err
		}
		if values := form.Value["model"]; len(values) > 0 {
			return values[0], nil
		}
		return "", errAbsent
	}},
}

var input = bufio.NewReader(os.Stdin)

func take(length uint32) []byte {
	data := make([]byte, length)
	if _, err := io.ReadFull(input, data); err != nil {
		os.Exit(0)
	}
	return data
}

func number() uint32 { return binary.BigEndian.Uint32(take(4)) }
func field() []byte  { return take(number()) }

func outcome(read reader, contentType string, body []byte) (text string) {
	defer func() {
		if failure := recover(); failure != nil {
			text = fmt.Sprintf("Epanic: %v", failure)
		}
	}()
	value, err := read(contentType, append([]byte(nil), body...))
	if err == errAbsent {
		return "A"
	} else if err != nil {
		return "E" + err.Error()
	}
	return "V" + value
}

func main() {
	gin.SetMode(gin.ReleaseMode)
	readers := jsonReaders
	if len(os.Args) > 1 && os.Args[1] == "form" {
		readers = formReaders
	}
	output := bufio.NewWriter(os.Stdout)
	put := func(text string) {
		binary.Write(output, binary.BigEndian, uint32(len(text)))
		output.WriteString(text)
	}
	binary.Write(output, binary.BigEndian, uint32(len(readers)))
	byName := map[string]reader{}
	for _, r := range readers {
		put(r.name)
		put("")
		byName[r.name] = r.read
	}
	output.Flush()
	var types []string
	var bodies [][]byte
	for {
		if take(1)[0] == 'B' {
			types, bodies = nil, nil
			for count := number(); count > 0; count-- {
				types = append(types, string(field()))
				bodies = append(bodies, field())
			}
			continue
		}
		read := byName[string(field())]
		begin := int(number())
		end := time.Now().Add(time.Duration(number()) * time.Millisecond)
		outcomes := make([]string, len(bodies))
		for offset := range bodies {
			at := (begin + offset) % len(bodies)
			outcomes[at] = outcome(read, types[at], bodies[at])
			if time.Now().After(end) {
				break
			}
		}
		for _, text := range outcomes {
			if text == "" {
				text = "S"
			}
			put(text)
		}
		output.Flush()
	}
}
