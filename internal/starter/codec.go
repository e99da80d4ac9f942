package starter

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"
)

const (
	// compressAbove is where a payload starts to travel compressed, in bytes.
	// Smaller ones stay readable in the Temporal UI without a codec server.
	compressAbove = 256 << 10

	// maxDecoded bounds what a payload may become, in bytes. The largest body
	// that the ingress can be told to take is half of it, which leaves room for
	// the quotes that a JSON string doubles.
	maxDecoded = 64 << 20

	// encodingZlib is what the SDK's own zlib codec writes, so that other tools
	// can read our payloads.
	encodingZlib = "binary/zlib"
)

// Codec returns the payload codec that everything which talks to Temporal here
// uses: it compresses payloads above 256 KiB, because Sentry sends bodies of
// several MiB and Temporal refuses payloads above 2 MiB.
func Codec() converter.PayloadCodec { return codec{} }

type codec struct{}

// Encode implements [converter.PayloadCodec].
func (codec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	encoded := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		encoded[i] = p
		if len(p.GetData()) <= compressAbove || isCompressed(p) { // a delivery is compressed once for all its runs
			continue
		}
		plain, err := proto.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("compress payload: %w", err)
		}
		var packed bytes.Buffer
		w, err := zlib.NewWriterLevel(&packed, zlib.BestSpeed)
		if err != nil {
			return nil, fmt.Errorf("compress payload: %w", err)
		}
		if _, err := w.Write(plain); err != nil {
			return nil, fmt.Errorf("compress payload: %w", err)
		}
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("compress payload: %w", err)
		}
		encoded[i] = &commonpb.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encodingZlib)},
			Data:     packed.Bytes(),
		}
	}
	return encoded, nil
}

// Decode implements [converter.PayloadCodec].
func (codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	decoded := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		decoded[i] = p
		if !isCompressed(p) {
			continue
		}
		r, err := zlib.NewReader(bytes.NewReader(p.GetData()))
		if err != nil {
			return nil, fmt.Errorf("decompress payload: %w", err)
		}
		plain, err := io.ReadAll(io.LimitReader(r, maxDecoded+1))
		switch {
		case err != nil:
			return nil, fmt.Errorf("decompress payload: %w", err)
		case len(plain) > maxDecoded:
			return nil, errors.New("decompress payload: it is beyond all bounds")
		}
		decoded[i] = &commonpb.Payload{}
		if err := proto.Unmarshal(plain, decoded[i]); err != nil {
			return nil, fmt.Errorf("decompress payload: %w", err)
		}
	}
	return decoded, nil
}

func isCompressed(p *commonpb.Payload) bool {
	return string(p.GetMetadata()[converter.MetadataEncoding]) == encodingZlib
}

// DataConverter returns the SDK's default data converter with [Codec]. A body
// of 8 MiB may take longer to unpack than the second within which the SDK takes
// workflow code for stuck, so the SDK is told not to count that.
func DataConverter() converter.DataConverter {
	return workflow.DataConverterWithoutDeadlockDetection(
		converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), Codec()))
}
