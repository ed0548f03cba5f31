// Copyright: (c) 2026, llmd.wide_ep contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// An image registry whose contents survive a restart. `crane registry serve --disk` (0.21.0) stores blobs on disk
// but holds manifests in memory; this one is the same library with the manifests stored beside the blobs.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// entry is one stored manifest: what a client put, under which repository and tag or digest.
type entry struct {
	Path      string `json:"path"`
	MediaType string `json:"mediaType"`
	Body      []byte `json:"body"`
}

type store struct {
	folder   string
	next     http.Handler
	writable bool
}

// answer keeps what the library's handler would have sent.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
func (a *answer) WriteHeader(code int)        { a.code = code }

func isManifest(path string) bool {
	parts := strings.Split(path, "/")
	return len(parts) > 3 && parts[len(parts)-2] == "manifests"
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	write := r.Method != http.MethodGet && r.Method != http.MethodHead
	if write && !s.writable {
		http.Error(w, `{"errors":[{"code":"DENIED","message":"this registry is read-only"}]}`, http.StatusMethodNotAllowed)
		return
	}
	if r.Method != http.MethodPut || !isManifest(r.URL.Path) {
		s.next.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := s.put(r.URL.Path, r.Header.Get("Content-Type"), body)
	if answer.code == http.StatusCreated {
		if err := s.save(entry{r.URL.Path, r.Header.Get("Content-Type"), body}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.code)
	w.Write(answer.body.Bytes())
}

func (s *store) put(path, mediaType string, body []byte) *answer {
	request := &http.Request{
		Method: http.MethodPut,
		URL:    &url.URL{Path: path},
		Header: http.Header{"Content-Type": {mediaType}},
		Body:   io.NopCloser(bytes.NewReader(body)),
	}
	a := &answer{header: http.Header{}, code: http.StatusOK}
	s.next.ServeHTTP(a, request)
	return a
}

func (s *store) save(e entry) error {
	content, err := json.Marshal(e)
	if err != nil {
		return err
	}
	name := filepath.Join(s.folder, url.PathEscape(e.Path)+".json")
	temporary := name + ".new"
	if err := os.WriteFile(temporary, content, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}

func (s *store) load() (int, error) {
	names, err := filepath.Glob(filepath.Join(s.folder, "*.json"))
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return 0, err
		}
		var e entry
		if err := json.Unmarshal(content, &e); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		if a := s.put(e.Path, e.MediaType, e.Body); a.code != http.StatusCreated {
			return 0, fmt.Errorf("%s: status %d: %s", name, a.code, a.body.String())
		}
	}
	return len(names), nil
}

func run(address, disk string, writable bool) error {
	s := &store{folder: filepath.Join(disk, "manifests"), writable: writable}
	if writable {
		if err := os.MkdirAll(s.folder, 0o755); err != nil {
			return err
		}
	} else if _, err := os.Stat(s.folder); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds no registry (no folder manifests)", disk)
	}
	quiet := log.New(io.Discard, "", 0)
	s.next = registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(disk)), registry.Logger(quiet))
	count, err := s.load()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	log.Printf("serving %d manifests of %s on %s", count, disk, listener.Addr())
	return (&http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}).Serve(listener)
}

func main() {
	address := flag.String("address", "127.0.0.1:0", "address to listen on")
	disk := flag.String("disk", "", "folder of the blobs and manifests")
	writable := flag.Bool("writable", false, "accept pushes")
	flag.Parse()
	if *disk == "" {
		log.Fatal("--disk is required")
	}
	log.Fatal(run(*address, *disk, *writable))
}
