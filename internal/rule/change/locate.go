package change

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// offsets maps the path of every value of a valid document ("approvals[0].
// approver", "" for the whole) to the byte at which it starts.
func offsets(data []byte) map[string]int {
	l := &locator{data: data, dec: json.NewDecoder(bytes.NewReader(data)), at: map[string]int{}}
	l.value("")
	return l.at
}

type locator struct {
	data []byte
	dec  *json.Decoder
	at   map[string]int
}

// value notes where the next value starts and walks through it. On a document
// that is no JSON it stops, with what it has.
func (l *locator) value(path string) bool {
	off := int(l.dec.InputOffset())
	for off < len(l.data) && bytes.IndexByte([]byte(" \t\r\n,:"), l.data[off]) >= 0 {
		off++
	}
	l.at[path] = off
	tok, err := l.dec.Token()
	if err != nil {
		return false
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return true
	}
	for i := 0; l.dec.More(); i++ {
		next := path + "[" + strconv.Itoa(i) + "]"
		if delim == '{' {
			key, err := l.dec.Token()
			if err != nil {
				return false
			}
			next = key.(string)
			if path != "" {
				next = path + "." + next
			}
		}
		if !l.value(next) {
			return false
		}
	}
	_, err = l.dec.Token()
	return err == nil
}
