package starter

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"maps"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/encoding/protowire"
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

	// leaveAs marks, in the metadata, a payload that is not to be compressed. It
	// does not leave this process.
	leaveAs = "leave-as-it-is"

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
		if _, leave := p.GetMetadata()[leaveAs]; leave {
			encoded[i] = &commonpb.Payload{Metadata: maps.Clone(p.GetMetadata()), Data: p.GetData()}
			delete(encoded[i].Metadata, leaveAs)
			continue
		}
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

// plain returns v as a payload that [codec.Encode] leaves as it is.
func plain(v any) (*commonpb.Payload, error) {
	payload, err := converter.GetDefaultDataConverter().ToPayload(v)
	if err != nil {
		return nil, err
	}
	payload.Metadata[leaveAs] = nil
	return payload, nil
}

// Decode implements [converter.PayloadCodec].
func (codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	decoded := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		var err error
		if decoded[i], _, err = inflate(p, maxDecoded); err != nil {
			return nil, err
		}
	}
	return decoded, nil
}

// ErrTooLargeDecoded says that payloads become larger than they may.
var ErrTooLargeDecoded = errors.New("what they decompress to is larger than it may be")

// DecodeWithin is like the Decode of [Codec], for payloads from anyone: all that
// they decompress to is together at most budget bytes, and no more is unpacked.
func DecodeWithin(payloads []*commonpb.Payload, budget int64) ([]*commonpb.Payload, error) {
	decoded := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		var size int64
		var err error
		if decoded[i], size, err = inflate(p, budget); err != nil {
			return nil, err
		}
		budget -= size
	}
	return decoded, nil
}

// inflate returns what p was before it was compressed, which is p itself if it was
// not, and the bytes that it was unpacked to: at most limit, else the error is
// [ErrTooLargeDecoded].
func inflate(p *commonpb.Payload, limit int64) (plain *commonpb.Payload, size int64, err error) {
	if !isCompressed(p) {
		return p, 0, nil
	}
	r, err := zlib.NewReader(bytes.NewReader(p.GetData()))
	if err != nil {
		return nil, 0, fmt.Errorf("decompress payload: %w", err)
	}
	unpacked, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("decompress payload: %w", err)
	case int64(len(unpacked)) > limit:
		return nil, 0, fmt.Errorf("decompress payload: %w", ErrTooLargeDecoded)
	}
	if !isPayload(unpacked) {
		return nil, 0, errors.New("decompress payload: it is none")
	}
	plain = &commonpb.Payload{}
	if err := proto.Unmarshal(unpacked, plain); err != nil {
		return nil, 0, fmt.Errorf("decompress payload: %w", err)
	}
	return plain, int64(len(unpacked)), nil
}

// isPayload reports whether message has no more fields than a payload needs. Each
// takes many times its size in memory.
func isPayload(message []byte) bool {
	const most = 100
	for n := 0; len(message) > 0; n++ {
		_, _, size := protowire.ConsumeField(message)
		if size < 0 || n == most {
			return false
		}
		message = message[size:]
	}
	return true
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
