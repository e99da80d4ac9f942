package text

// Nearest returns the first of the names that is spelled most like name, with at
// most so many wrong characters; "" if none is.
func Nearest(name string, names []string, most int) string {
	nearest, found := most+1, ""
	for _, other := range names {
		if longer := len(name) - len(other); longer > most || longer < -most {
			continue
		}
		if d := distance(name, other); d < nearest {
			nearest, found = d, other
		}
	}
	return found
}

// distance returns how many characters have to be added, taken away or replaced
// to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // from a[:i] to b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
