// SPDX-License-Identifier: MIT

// Answers everything with 200 and with exactly the headers that the query names, in their order:
// ?h=Name:value&h=Name:other. For replies that no registry sends.
//
// With -restless the world is stopped thousands of times a second. Each time every running goroutine
// is sent to morestack by the next function that it enters, which then starts over: without async
// preemption (GODEBUG=asyncpreemptoff=1) that is the only way to stop it.
package main

import (
	"flag"
	"log"
	"net/http"
	"runtime"
	"strings"
)

func reply(w http.ResponseWriter, r *http.Request) {
	for _, header := range r.URL.Query()["h"] {
		if i := strings.Index(header, ":"); i >= 0 {
			w.Header().Add(header[:i], header[i+1:])
		}
	}
	w.Write([]byte("{}"))
}

func stopTheWorld() {
	var stats runtime.MemStats
	for {
		runtime.ReadMemStats(&stats)
		runtime.Gosched()
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	restless := flag.Bool("restless", false, "stop the world all the time")
	flag.Parse()
	if *restless {
		go stopTheWorld()
	}
	log.Fatal(http.ListenAndServe(*listen, http.HandlerFunc(reply)))
}
