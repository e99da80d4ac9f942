package starter_test

import (
	"bytes"
	"compress/zlib"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"sentry-temporal/internal/starter"
)

func payload(data string) *commonpb.Payload {
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(data)}
}

func TestCodec(t *testing.T) {
	codec := starter.Codec()
	for name, test := range map[string]struct {
		data       string
		compressed bool
	}{
		"nothing":          {data: ""},
		"readable":         {data: strings.Repeat("x", 256<<10)},
		"above 256 KiB":    {data: strings.Repeat("x", 256<<10+1), compressed: true},
		"several megabyte": {data: strings.Repeat(`{"a":1}`, 1<<18), compressed: true},
	} {
		t.Run(name, func(t *testing.T) {
			plain := payload(test.data)
			encoded, err := codec.Encode([]*commonpb.Payload{plain})
			if err != nil {
				t.Fatal(err)
			}
			if compressed := len(encoded[0].GetData()) < len(test.data); compressed != test.compressed {
				t.Errorf("%d bytes became %d", len(test.data), len(encoded[0].GetData()))
			}
			for what, decoder := range map[string]converter.PayloadCodec{"ours": codec, "the SDK's": converter.NewZlibCodec(converter.ZlibCodecOptions{})} {
				decoded, err := decoder.Decode(encoded)
				if err != nil || !proto.Equal(decoded[0], plain) {
					t.Errorf("%s codec does not bring it back: %v", what, err)
				}
			}
		})
	}
}

// What does not become smaller stays above the bound, and is sent with each run
// of a delivery.
func TestWhatIsCompressedIsNotCompressedAgain(t *testing.T) {
	noise := make([]byte, 512<<10)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	once, err := starter.Codec().Encode([]*commonpb.Payload{payload(string(noise))})
	if err != nil {
		t.Fatal(err)
	}
	twice, err := starter.Codec().Encode(once)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(once[0], twice[0]) {
		t.Errorf("%d bytes became %d", len(once[0].GetData()), len(twice[0].GetData()))
	}
}

func packed(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecodingIsBounded(t *testing.T) {
	const most = 64 << 20
	overhead := proto.Size(payload(strings.Repeat(" ", most))) - most
	bomb := func(size int) []byte {
		plain, err := proto.Marshal(payload(strings.Repeat(" ", size-overhead)))
		if err != nil {
			t.Fatal(err)
		}
		return packed(t, plain)
	}
	for name, test := range map[string]struct {
		data []byte
		fine bool
	}{
		"all that there may be": {data: bomb(most), fine: true},
		"a bomb":                {data: bomb(most + 1)},
		"no payload":            {data: packed(t, []byte("plain"))},
		"not zlib":              {data: []byte("plain")},
		"cut off":               {data: bomb(most)[:100]},
	} {
		t.Run(name, func(t *testing.T) {
			p := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/zlib")}, Data: test.data}
			if _, err := starter.Codec().Decode([]*commonpb.Payload{p}); (err == nil) != test.fine {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// Each field takes many times its size in memory.
func TestAPayloadHasABoundedNumberOfFields(t *testing.T) {
	for fields, taken := range map[int]bool{100: true, 101: false} {
		var message []byte
		for n := range fields {
			entry := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), fmt.Sprint("key", n))
			message = protowire.AppendBytes(protowire.AppendTag(message, 1, protowire.BytesType), entry)
		}
		var packed bytes.Buffer
		w := zlib.NewWriter(&packed)
		if _, err := w.Write(message); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		decoded, err := starter.Codec().Decode([]*commonpb.Payload{{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte("binary/zlib")}, Data: packed.Bytes(),
		}})
		if (err == nil) != taken || taken && len(decoded[0].GetMetadata()) != fields {
			t.Errorf("one of %d fields: %v", fields, err)
		}
	}
}
