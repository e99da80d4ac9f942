package outside

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
)

// errPrivate says that an address is one of a private network.
var errPrivate = errors.New("its address leads into a private network")

// special are networks that are no part of the internet, beyond those that netip knows.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),     // this network
	netip.MustParsePrefix("100.64.0.0/10"), // shared by providers
	netip.MustParsePrefix("192.0.0.0/24"),  // protocols
	netip.MustParsePrefix("198.18.0.0/15"), // measurements
	netip.MustParsePrefix("240.0.0.0/4"),   // reserved
	netip.MustParsePrefix("64:ff9b::/96"),  // IPv4 within IPv6, whatever it is
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("fec0::/10"), // private once
}

// public reports whether an IP address is one of the internet.
func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, network := range special {
		if network.Contains(ip) {
			return false
		}
	}
	return true
}

// publicOnly has a transport connect to the internet only, whatever a name resolves to at
// the moment.
func publicOnly(transport *http.Transport) {
	dialer := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !public(at.Addr()) {
			return errPrivate
		}
		return nil
	}}
	transport.DialContext = dialer.DialContext
	transport.Proxy = nil
}

// forOthers returns what a request to an address of [Request.Public] is sent with: where
// the address is written as one of loopback, whoever configured it means this machine;
// where a proxy is between, it decides what can be reached; and else only the internet can.
func (c *Client) forOthers(request *http.Request) *http.Client {
	if proxy, err := http.ProxyFromEnvironment(request); err != nil || proxy != nil || onLoopback(request.URL) {
		return c.http
	}
	return c.public
}

// onLoopback reports whether an address is written as one of this machine.
func onLoopback(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}
