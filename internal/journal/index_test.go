package journal

import "testing"

func TestAParkedDeliveryIsFoundByItsLastRecordAlone(t *testing.T) {
	x := newIndex()
	delivery := digest{1}
	x.park(1, parkedEntry{entry: entry{delivery: delivery, size: 10}})
	x.park(2, parkedEntry{entry: entry{delivery: delivery, size: 20}}) // put back meanwhile, and parked again
	x.unpark(1)
	if x.parkedIDs[delivery] != 2 || x.parkedBytes != 20 {
		t.Errorf("it is found at %d, with %d bytes", x.parkedIDs[delivery], x.parkedBytes)
	}
	x.unpark(2)
	if at, found := x.parkedIDs[delivery]; found || x.parkedBytes != 0 {
		t.Errorf("it is found at %d, with %d bytes", at, x.parkedBytes)
	}
}
