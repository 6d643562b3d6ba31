// SPDX-License-Identifier: MIT

// A registry that accepts every name: GET and HEAD of any path answer 200, so that whatever a
// client can put on the wire reaches a counted reply. With -log it writes one JSON line per reply
// after the handler has done its work; without, it is as fast as net/http is.
//
// The query chooses what is odd about the reply:
//
//	?status=N      status N
//	?headers=N     N more response headers
//	?digest=none   no digest header; any other value is sent as it stands
//
// Without it, the digest of a manifest is the SHA-256 of its path up to "?".
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

type line struct {
	Remote string `json:"remote"`
	Method string `json:"method"`
	URI    string `json:"uri"` // percent-encoded: every byte as it came
	Status int    `json:"status"`
	Proto  string `json:"proto"`
	Digest string `json:"digest"`
}

var (
	logMutex sync.Mutex
	logOut   *bufio.Writer
	body     = []byte(`{"schemaVersion":2}` + "\n")
)

// escapeBytes keeps printable ASCII, "%" included, and encodes every other byte.
func escapeBytes(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] > ' ' && s[i] < 0x7f {
			out.WriteByte(s[i])
		} else {
			fmt.Fprintf(&out, "%%%02X", s[i])
		}
	}
	return out.String()
}

func write(entry line) {
	text, err := json.Marshal(entry)
	if err != nil {
		log.Fatal(err)
	}
	logMutex.Lock()
	defer logMutex.Unlock()
	logOut.Write(text)
	logOut.WriteByte('\n')
	logOut.Flush()
}

func digestOf(path string) string {
	if at := strings.LastIndexByte(path, '/'); strings.HasPrefix(path[at+1:], "sha256:") {
		return path[at+1:]
	}
	sum := sha256.Sum256([]byte(path))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func handle(w http.ResponseWriter, r *http.Request) {
	path, query := r.RequestURI, ""
	if at := strings.IndexByte(path, '?'); at >= 0 {
		path, query = path[:at], path[at+1:]
	}
	header, status, digest := w.Header(), http.StatusOK, ""
	if strings.Contains(path, "/manifests/") {
		digest = digestOf(path)
	}
	if query != "" {
		values := r.URL.Query()
		if n, err := strconv.Atoi(values.Get("status")); err == nil {
			status = n
		}
		if values.Has("digest") {
			digest = values.Get("digest")
		}
		if n, err := strconv.Atoi(values.Get("headers")); err == nil {
			for i := 0; i < n; i++ {
				header.Set("X-Extra-"+strconv.Itoa(i), "value")
			}
		}
	}
	if digest != "" && digest != "none" {
		header.Set("Docker-Content-Digest", digest)
	}
	header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if status != http.StatusOK {
		header.Del("Content-Length")
		w.WriteHeader(status)
	} else if r.Method != http.MethodHead {
		w.Write(body)
	}
	if logOut != nil {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		write(line{host, r.Method, escapeBytes(r.RequestURI), status, r.Proto, digest})
	}
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address and port")
	logPath := flag.String("log", "", "file for one JSON line per reply")
	certificate := flag.String("cert", "", "serve TLS with this certificate")
	key := flag.String("key", "", "and this key")
	flag.Parse()
	if *logPath != "" {
		file, err := os.OpenFile(*logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			log.Fatal(err)
		}
		logOut = bufio.NewWriter(file)
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: http.HandlerFunc(handle), MaxHeaderBytes: 1 << 20}
	if *certificate != "" {
		log.Fatal(server.ServeTLS(listener, *certificate, *key))
	}
	log.Fatal(server.Serve(listener))
}
