package admin

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/web"
)

const (
	// maxCodecBody bounds what the codec is given, in bytes: the payloads of an
	// event in a history have at most 4 MiB, in base64.
	maxCodecBody = 8 << 20
	// maxCodecParts bounds the punctuation in it: what the payloads are has none
	// of it, in base64, and each part takes many times its size in memory.
	maxCodecParts = 10_000
	// codecBudget bounds what the payloads of one request become together, in
	// bytes: an envelope with a body of the largest size by default, and each byte
	// of it escaped.
	codecBudget = 16 << 20
	// codecPatience is how long a request waits for those before it, and
	// codecReadTimeout how long its body may take then.
	codecPatience    = 5 * time.Second
	codecReadTimeout = 5 * time.Second
)

// codec decompresses payloads for the Temporal UI, one request at a time.
type codec struct {
	unpack func(payloads []*commonpb.Payload, budget int64) ([]*commonpb.Payload, error)
	turn   chan struct{} // of capacity 1
}

func newCodec(unpack func([]*commonpb.Payload, int64) ([]*commonpb.Payload, error)) *codec {
	return &codec{unpack, make(chan struct{}, 1)}
}

// decode answers POST /codec/decode. What is too large is refused whole, with the
// reason: the UI shows that beside the payload as it is stored.
func (k *codec) decode(c *gin.Context) {
	patience := time.NewTimer(codecPatience)
	defer patience.Stop()
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-patience.C:
		c.Header("Retry-After", "1")
		web.Refuse(c, http.StatusServiceUnavailable, "too many payloads are being decoded, ask again")
		return
	case <-c.Request.Context().Done():
		return
	}
	_ = http.NewResponseController(c.Writer).SetReadDeadline(time.Now().Add(codecReadTimeout)) // at worst it is that of the server
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxCodecBody))
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			web.Refuse(c, http.StatusRequestEntityTooLarge, "these are more payloads than are decoded at once")
			return
		}
		web.Refuse(c, http.StatusBadRequest, "the body did not arrive whole")
		return
	}
	parts := 0
	for _, mark := range []string{",", ":", "{", "["} {
		parts += bytes.Count(body, []byte(mark))
	}
	if parts > maxCodecParts {
		web.Refuse(c, http.StatusRequestEntityTooLarge, "these are more payloads than are decoded at once")
		return
	}
	var payloads commonpb.Payloads
	if err := protojson.Unmarshal(body, &payloads); err != nil {
		web.Refuse(c, http.StatusBadRequest, "the body is not payloads in JSON")
		return
	}
	payloads.Payloads, err = k.unpack(payloads.GetPayloads(), codecBudget)
	switch {
	case errors.Is(err, starter.ErrTooLargeDecoded):
		web.Refuse(c, http.StatusRequestEntityTooLarge, "the payloads of this request are over 16 MiB when they are decompressed, and stay as they are stored")
		return
	case err != nil:
		web.Refuse(c, http.StatusBadRequest, "these are no payloads of this project")
		return
	}
	text, err := protojson.Marshal(&payloads)
	if err != nil { // a name in its metadata is not UTF-8
		web.Refuse(c, http.StatusBadRequest, "these are no payloads of this project")
		return
	}
	c.Data(http.StatusOK, "application/json", text)
}
