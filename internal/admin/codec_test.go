package admin_test

import (
	"bytes"
	"compress/flate"
	"hash/adler32"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime/metrics"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/starter"
)

func codecOf(t *testing.T) http.Handler {
	t.Helper()
	return admin.New(admin.Options{
		Ready:    func() error { return nil },
		Temporal: func() []admin.NamespaceState { return nil },
		Decode:   starter.DecodeWithin,
		Log:      slog.New(slog.DiscardHandler),
	})
}

// decode asks for body to be decoded and returns the answer.
func decode(t *testing.T, codec http.Handler, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/codec/decode", body)
	r.Host = "localhost"
	answer := httptest.NewRecorder()
	codec.ServeHTTP(answer, r)
	return answer
}

// compressed returns a payload that is said to decompress to begin and times
// times again. What repeats is compressed once.
func compressed(t *testing.T, begin, again []byte, times int) *commonpb.Payload {
	t.Helper()
	packed := []byte{0x78, 0x01} // begins zlib
	packed = append(packed, blocks(t, begin)...)
	packed = append(packed, bytes.Repeat(blocks(t, again), times)...)
	packed = append(packed, 1, 0, 0, 0xff, 0xff) // the last block, with nothing in it
	sum := adler32.New()
	sum.Write(begin)
	for range times {
		sum.Write(again)
	}
	return &commonpb.Payload{Metadata: map[string][]byte{converter.MetadataEncoding: []byte("binary/zlib")}, Data: sum.Sum(packed)}
}

// blocks returns data compressed, without an end.
func blocks(t *testing.T, data []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// large returns a payload with data of n MiB, compressed about 1:1000.
func large(t *testing.T, n int) *commonpb.Payload {
	t.Helper()
	const dataField = 2
	begin := protowire.AppendTag(nil, dataField, protowire.BytesType)
	return compressed(t, protowire.AppendVarint(begin, uint64(n)<<20), make([]byte, 1<<20), n)
}

func inJSON(t *testing.T, payloads ...*commonpb.Payload) string {
	t.Helper()
	text, err := protojson.Marshal(&commonpb.Payloads{Payloads: payloads})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestACodecRequestTakesBoundedMemory(t *testing.T) {
	const most = 256 << 20 // bytes, of all that is allocated and not only of what is so at one time
	bomb := large(t, 400)
	if len(bomb.GetData()) > 1<<20 {
		t.Fatalf("the bomb has %d bytes", len(bomb.GetData()))
	}
	codec := codecOf(t)
	for name, test := range map[string]struct {
		body string
		want int
	}{
		"an envelope of the largest size by default, escaped": {inJSON(t, large(t, 15)), http.StatusOK},
		"small ones":                        {inJSON(t, large(t, 1), large(t, 1)), http.StatusOK},
		"a bomb":                            {inJSON(t, bomb), http.StatusRequestEntityTooLarge},
		"four bombs":                        {inJSON(t, bomb, bomb, bomb, bomb), http.StatusRequestEntityTooLarge},
		"many that are fine alone":          {inJSON(t, large(t, 15), large(t, 15), large(t, 15), large(t, 15), large(t, 15)), http.StatusRequestEntityTooLarge},
		"many fields in one":                {inJSON(t, compressed(t, nil, bytes.Repeat([]byte{0x1a, 0}, 1<<19), 15)), http.StatusBadRequest},
		"many payloads":                     {`{"payloads":[` + strings.Repeat("{},", 2<<20) + `{}]}`, http.StatusRequestEntityTooLarge},
		"much metadata":                     {`{"payloads":[{"metadata":{"":""` + strings.Repeat(`,"":""`, 1<<20) + `}}]}`, http.StatusRequestEntityTooLarge},
		"more than anybody has":             {`{"payloads":[{"data":"` + strings.Repeat("A", 9<<20) + `"}]}`, http.StatusRequestEntityTooLarge},
		"no payloads":                       {"[]", http.StatusBadRequest},
		"what only says it were compressed": {inJSON(t, &commonpb.Payload{Metadata: bomb.GetMetadata(), Data: []byte("plain")}), http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			before := allocated()
			answer := decode(t, codec, strings.NewReader(test.body))
			took := allocated() - before
			if answer.Code != test.want {
				t.Errorf("answered %d %.200s", answer.Code, answer.Body)
			}
			t.Logf("%d KiB took %d KiB", len(test.body)>>10, took>>10)
			if took > most {
				t.Errorf("%d bytes took %d", len(test.body), took)
			}
		})
	}
}

// allocated returns the bytes that this process has ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func TestCodecRequestsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		codec := codecOf(t)
		body, sender := io.Pipe()
		first, second := make(chan *httptest.ResponseRecorder, 1), make(chan *httptest.ResponseRecorder, 1)
		go func() { first <- decode(t, codec, body) }()
		synctest.Wait() // for a body that does not come
		go func() { second <- decode(t, codec, strings.NewReader("{}")) }()
		synctest.Wait()
		select {
		case <-second:
			t.Error("two requests are decoded at once")
		default:
		}
		if answer := decode(t, codec, strings.NewReader("{}")); answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" {
			t.Errorf("answered %d %s", answer.Code, answer.Body)
		}
		if answer := <-second; answer.Code != http.StatusServiceUnavailable {
			t.Errorf("answered %d %s", answer.Code, answer.Body)
		}
		if waited := time.Since(begun); waited > 10*time.Second {
			t.Errorf("waited %s", waited)
		}
		if _, err := io.WriteString(sender, "{}"); err != nil {
			t.Fatal(err)
		}
		sender.Close()
		if answer := <-first; answer.Code != http.StatusOK {
			t.Errorf("answered %d %s", answer.Code, answer.Body)
		}
		if answer := decode(t, codec, strings.NewReader("{}")); answer.Code != http.StatusOK {
			t.Errorf("answered %d %s", answer.Code, answer.Body)
		}
	})
}
