// SPDX-License-Identifier: MIT

// Load for the benchmark: GETs of the paths in a file, round robin over a fixed number of kept
// connections. With -rate 0 each connection asks again as soon as it was answered (throughput);
// else requests have a schedule, and latency counts from when a request was due, so that a server
// that stalls can't hide it (no coordinated omission). Prints one line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

type result struct {
	Requests  int     `json:"requests"`
	Errors    int     `json:"errors"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
	P50us     float64 `json:"p50_us"`
	P99us     float64 `json:"p99_us"`
	P999us    float64 `json:"p999_us"`
}

// skipReply reads one reply with a Content-Length and returns its status.
func skipReply(in *bufio.Reader) (string, error) {
	text, err := in.ReadSlice('\n')
	if err != nil || len(text) < 12 {
		return "", fmt.Errorf("no status line: %v", err)
	}
	status := string(text[9:12])
	length := 0
	for {
		text, err = in.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if len(text) <= 2 {
			break
		}
		if text[0] == 'C' && strings.HasPrefix(string(text), "Content-Length: ") {
			fmt.Sscan(string(text[16:]), &length)
		}
	}
	_, err = io.CopyN(io.Discard, in, int64(length))
	return status, err
}

func main() {
	address := flag.String("address", "", "host:port")
	pathsFile := flag.String("paths", "", "file with one path per line")
	rate := flag.Float64("rate", 0, "requests a second over all connections, 0: as fast as answered")
	connections := flag.Int("connections", 8, "kept connections")
	duration := flag.Duration("duration", 5*time.Second, "how long")
	flag.Parse()
	text, err := os.ReadFile(*pathsFile)
	if err != nil {
		log.Fatal(err)
	}
	var requests [][]byte
	for _, path := range strings.Fields(string(text)) {
		requests = append(requests, []byte("GET "+path+" HTTP/1.1\r\nHost: bench\r\n\r\n"))
	}

	var group sync.WaitGroup
	latencies := make([][]time.Duration, *connections)
	failures := make([]int, *connections)
	start := time.Now().Add(50 * time.Millisecond)
	end := start.Add(*duration)
	for c := 0; c < *connections; c++ {
		group.Add(1)
		go func(c int) {
			defer group.Done()
			connection, err := net.Dial("tcp", *address)
			if err != nil {
				log.Fatal(err)
			}
			defer connection.Close()
			in := bufio.NewReaderSize(connection, 32<<10)
			var step time.Duration
			due := start
			if *rate > 0 {
				step = time.Duration(float64(*connections) / *rate * 1e9)
				due = start.Add(step * time.Duration(c) / time.Duration(*connections))
			}
			next := c * len(requests) / *connections
			for {
				if wait := time.Until(due); wait > 0 {
					time.Sleep(wait)
				}
				if step == 0 {
					due = time.Now()
				}
				if due.After(end) {
					return
				}
				if _, err := connection.Write(requests[next%len(requests)]); err != nil {
					log.Fatal(err)
				}
				status, err := skipReply(in)
				if err != nil {
					log.Fatal(err)
				}
				if status != "200" && status != "404" {
					failures[c]++
				}
				latencies[c] = append(latencies[c], time.Since(due))
				next++
				due = due.Add(step)
			}
		}(c)
	}
	group.Wait()
	took := time.Since(start).Seconds()

	var all []time.Duration
	made := result{Seconds: took}
	for c := range latencies {
		all = append(all, latencies[c]...)
		made.Errors += failures[c]
	}
	if len(all) == 0 {
		log.Fatal("nothing was answered")
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	at := func(part float64) float64 {
		return float64(all[int(part*float64(len(all)-1))].Nanoseconds()) / 1000
	}
	made.Requests, made.PerSecond = len(all), float64(len(all))/took
	made.P50us, made.P99us, made.P999us = at(0.5), at(0.99), at(0.999)
	out, _ := json.Marshal(made)
	fmt.Println(string(out))
}
