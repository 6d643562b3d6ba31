// SPDX-License-Identifier: MIT

// A registry's manifest and blob routes without a registry behind them, and every way a reply can
// end. What a request asks for is in its query, so that a test states it where it sends it:
//
//	status=N       the reply's status (304 and 204 without a body)
//	headers=N      N more headers, spread over the map before the digest is set
//	digest=no      no Docker-Content-Digest
//	size=N         body of N bytes, written in pieces
//	depth=N        N frames of recursion first, so that the goroutine's stack has grown
//	do=nothing     the handler returns without a word (net/http makes it a 200)
//	do=panic       do=abort      do=hijack: no reply is finished
//	do=clear       forgets RequestURI first, as proxies that reuse a request do
//	do=flush       headers leave long before the handler ends
//
// The access log is the truth that tests compare with: one JSON object per request, written when
// the handler is done and before net/http finishes the reply.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

type entry struct {
	Method  string `json:"method"`
	URI     string `json:"uri"`
	Status  int    `json:"status"` // 0: the handler set none
	Digest  string `json:"digest"`
	Peer    string `json:"peer"`
	Proto   string `json:"proto"`
	Outcome string `json:"outcome"` // finished, panic, hijack
}

type accessLog struct {
	mu  sync.Mutex
	out io.Writer
}

func (l *accessLog) write(e *entry) {
	line, err := json.Marshal(e)
	if err != nil {
		log.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.out.Write(append(line, '\n')); err != nil {
		log.Fatal(err)
	}
}

func number(q url.Values, name string, otherwise int) int {
	n, err := strconv.Atoi(q.Get(name))
	if err != nil {
		return otherwise
	}
	return n
}

// digestOf is the same for the same reference, so that tests can compute it.
func digestOf(ref string) string {
	if strings.HasPrefix(ref, "sha256:") {
		return ref
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(ref)))
}

//go:noinline
func deepen(depth int, pad [256]byte) byte {
	if depth <= 0 {
		return pad[0]
	}
	pad[depth%len(pad)]++
	return deepen(depth-1, pad) + pad[1]
}

// reference returns what follows /manifests/ or /blobs/ in /v2/<name>/manifests/<ref>.
func reference(path string) (ref string, manifest, ok bool) {
	if !strings.HasPrefix(path, "/v2/") {
		return "", false, false
	}
	if i := strings.LastIndex(path, "/manifests/"); i > len("/v2") {
		return path[i+len("/manifests/"):], true, true
	}
	if i := strings.LastIndex(path, "/blobs/"); i > len("/v2") {
		return path[i+len("/blobs/"):], false, true
	}
	return "", false, false
}

func defaultStatus(method string) int {
	switch method {
	case http.MethodPut:
		return http.StatusCreated
	case http.MethodDelete:
		return http.StatusAccepted
	}
	return http.StatusOK
}

func body(w http.ResponseWriter, size int) {
	piece := []byte(strings.Repeat("x", 4096))
	for size > 0 {
		n := size
		if n > len(piece) {
			n = len(piece)
		}
		if _, err := w.Write(piece[:n]); err != nil {
			return
		}
		size -= n
	}
}

func hijack(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler) // HTTP/2 has no such thing
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(err)
	}
	io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	conn.Close()
}

type server struct {
	log     *accessLog
	headers int
}

func (s *server) reply(w http.ResponseWriter, r *http.Request, e *entry) {
	q := r.URL.Query()
	ref, _, known := reference(r.URL.Path)
	header := w.Header()

	if depth := number(q, "depth", 0); depth > 0 {
		header.Set("X-Depth", strconv.Itoa(int(deepen(depth, [256]byte{}))))
	}
	switch q.Get("do") {
	case "nothing":
		return
	case "panic":
		panic("asked to")
	case "abort":
		panic(http.ErrAbortHandler)
	case "hijack":
		e.Outcome = "hijack"
		hijack(w)
		return
	case "clear":
		r.RequestURI = ""
	}
	header.Set("Docker-Distribution-Api-Version", "registry/2.0")
	if !known && r.URL.Path != "/v2/" {
		e.Status = http.StatusNotFound
		w.WriteHeader(e.Status)
		return
	}
	extra := number(q, "headers", s.headers)
	for i := 0; i < extra; i++ {
		header.Set(fmt.Sprintf("X-Extra-%d", i), "value")
	}
	if known && q.Get("digest") != "no" {
		e.Digest = digestOf(ref)
		header.Set("Docker-Content-Digest", e.Digest)
		header.Set("Etag", `"`+e.Digest+`"`)
	}
	header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	e.Status = number(q, "status", defaultStatus(r.Method))
	w.WriteHeader(e.Status)
	if q.Get("do") == "flush" {
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
		time.Sleep(20 * time.Millisecond)
	}
	if r.Method != http.MethodHead && e.Status != http.StatusNotModified &&
		e.Status != http.StatusNoContent {
		body(w, number(q, "size", 2))
	}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := &entry{
		Method:  r.Method,
		URI:     r.RequestURI,
		Peer:    r.RemoteAddr,
		Proto:   r.Proto,
		Outcome: "panic",
	}
	defer s.log.write(e) // also when the handler panics
	s.reply(w, r, e)
	if e.Outcome != "hijack" {
		e.Outcome = "finished"
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	cert := flag.String("cert", "", "certificate; with -key the server speaks TLS and HTTP/2")
	key := flag.String("key", "", "key")
	access := flag.String("access-log", "", "file that is appended to")
	headers := flag.Int("headers", 0, "more headers in every reply")
	flag.Parse()

	out := io.Discard
	if *access != "" {
		f, err := os.OpenFile(*access, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			log.Fatal(err)
		}
		out = f
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	s := &http.Server{
		Handler:  &server{log: &accessLog{out: out}, headers: *headers},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	if *cert != "" {
		log.Fatal(s.ServeTLS(listener, *cert, *key))
	}
	log.Fatal(s.Serve(listener))
}
