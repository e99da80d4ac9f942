package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"sentry-temporal/internal/telemetry"
)

const (
	// FileName is that of the file beside the journal.
	FileName = "installations.json"
	// maxInstallations is how many are known of an integration. An internal
	// integration has one.
	maxInstallations = 1000
	// maxFile bounds the file, in bytes: what is larger is not ours.
	maxFile = 16 << 20
)

// installations are those whose deliveries have matched.
type installations struct {
	known map[string]bool
	order []string // in which they became known
}

func (i *installations) knows(installation string) bool { return i.known[installation] }

// add reports whether installation is new. The one that was known first makes
// place for it.
func (i *installations) add(installation string) bool {
	if installation == "" || i.known[installation] {
		return false
	}
	if i.known == nil {
		i.known = map[string]bool{}
	}
	if len(i.order) == maxInstallations {
		delete(i.known, i.order[0])
		i.order = i.order[1:]
	}
	i.known[installation] = true
	i.order = append(i.order, installation)
	return true
}

// learn remembers the installation of a delivery that matched.
func (k *Keyring) learn(r *ring, installation string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.add(installation) {
		k.unwritten = true
	}
}

// load reads which installations are known. Without that file they are learned
// anew.
func (k *Keyring) load() {
	if k.path == "" {
		return
	}
	all, err := readInstallations(k.path)
	if err != nil {
		k.log.Warn("the installations that are known cannot be read, they are learned anew", telemetry.KeyError, err.Error())
	}
	for _, r := range k.rings {
		for _, installation := range all[r.name] {
			r.add(installation)
		}
	}
}

func readInstallations(path string) (all map[string][]string, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := json.NewDecoder(io.LimitReader(file, maxFile)).Decode(&all); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return all, nil
}

// save writes which installations are known, if there are new ones.
func (k *Keyring) save() {
	k.mu.Lock()
	if k.path == "" || !k.unwritten {
		k.mu.Unlock()
		return
	}
	k.unwritten = false
	all := map[string][]string{}
	for _, r := range k.rings {
		all[r.name] = append([]string{}, r.order...)
	}
	k.mu.Unlock()
	problem := ""
	if err := writeInstallations(k.path, all); err != nil {
		problem = err.Error()
		k.mu.Lock()
		k.unwritten = true
		k.mu.Unlock()
		if problem != k.writing {
			k.log.Warn("the installations that are known cannot be written", telemetry.KeyError, problem)
		}
	}
	k.writing = problem
}

// writeInstallations puts a new file in the place of the one that is there.
func writeInstallations(path string, all map[string][]string) error {
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
