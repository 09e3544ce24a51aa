// Says what Go's crypto/x509 thinks of certificate chains, one line each: "ok" or the error. The test
// stages::tls::truth::go_says_what_the_table_says writes the chains to numbered folders and runs it.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

func main() {
	count, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	for i := range count {
		if err := verify(filepath.Join(os.Args[1], strconv.Itoa(i))); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("ok")
		}
	}
}

// verify does what crypto/tls does with the certificates of a server (handshake_client.go, verifyServerCertificate).
func verify(dir string) error {
	rest := read(dir, "chain.pem")
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("tls: failed to parse certificate from server: %w", err)
		}
		certs = append(certs, cert)
	}
	opts := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		DNSName:       string(read(dir, "host")),
	}
	opts.Roots.AppendCertsFromPEM(read(dir, "roots.pem"))
	for _, cert := range certs[1:] {
		opts.Intermediates.AddCert(cert)
	}
	_, err := certs[0].Verify(opts)
	return err
}

func read(dir, name string) []byte {
	bytes, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		panic(err)
	}
	return bytes
}
