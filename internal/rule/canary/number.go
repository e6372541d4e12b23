package canary

import "strconv"

// num prints a number the short way.
func num(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// percent prints a share as per cent with as many digits as it takes to tell
// it from limit, at least two.
func percent(share, limit float64) string {
	want := num(tidy(float64(100 * limit)))
	for digits := 2; digits < 17; digits++ {
		x, err := strconv.ParseFloat(strconv.FormatFloat(float64(100*share), 'g', digits, 64), 64)
		if err == nil && (num(x) != want || share == limit) {
			return num(x) + " %"
		}
	}
	return num(float64(100*share)) + " %"
}

// tidy keeps twelve digits and drops what binary arithmetic leaves behind them,
// so that 70 of 100 is 0.3 less than all and not a little more.
func tidy(x float64) float64 {
	y, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 12, 64), 64)
	if err != nil {
		return x
	}
	return y
}

// perCent prints a limit.
func perCent(limit float64) string { return num(tidy(float64(100*limit))) + " %" }

// share is a/b, 0 when b is 0.
func share(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}
