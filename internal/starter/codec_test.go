package starter_test

import (
	"bytes"
	"compress/zlib"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
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

func TestDecodingIsBounded(t *testing.T) {
	var bomb bytes.Buffer
	w := zlib.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for range 65 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"a bomb": bomb.Bytes(), "not zlib": []byte("plain"), "cut off": bomb.Bytes()[:100]} {
		t.Run(name, func(t *testing.T) {
			p := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/zlib")}, Data: data}
			if _, err := starter.Codec().Decode([]*commonpb.Payload{p}); err == nil {
				t.Error("it was decoded")
			}
		})
	}
}
