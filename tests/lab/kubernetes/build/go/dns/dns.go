// Copyright: (c) 2026, holdfast.postgres contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package dns is labdns: answers A queries for NAME.NAMESPACE.svc.cluster.local (and POD.SERVICE.NAMESPACE... of headless services) from the API server.
package dns

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Main runs the server.
func Main() {
	flags := flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "")
	addr := flags.String("listen", "127.0.0.1:53", "")
	domain := flags.String("domain", "cluster.local.", "")
	_ = flags.Parse(os.Args[1:])
	cfg, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	f := informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(cfg), 10*time.Minute)
	services := f.Core().V1().Services().Lister()
	slices := f.Discovery().V1().EndpointSlices().Lister()
	f.Start(context.Background().Done())
	f.WaitForCacheSync(context.Background().Done())
	lookup := func(q string) (ips []string, found bool) {
		p := strings.Split(strings.TrimSuffix(strings.ToLower(q), ".svc."+*domain), ".")
		host := ""
		if len(p) == 3 {
			host, p = p[0], p[1:]
		}
		if len(p) != 2 || !strings.HasSuffix(strings.ToLower(q), ".svc."+*domain) {
			return nil, false
		}
		s, err := services.Services(p[1]).Get(p[0])
		if err != nil {
			return nil, false
		}
		if host == "" && s.Spec.ClusterIP != corev1.ClusterIPNone {
			return []string{s.Spec.ClusterIP}, true
		}
		l, _ := slices.EndpointSlices(p[1]).List(labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: p[0]}))
		for _, e := range l {
			for _, x := range e.Endpoints {
				ready := x.Conditions.Ready == nil || *x.Conditions.Ready || s.Spec.PublishNotReadyAddresses
				if ready && (host == "" || (x.Hostname != nil && *x.Hostname == host)) {
					ips = append(ips, x.Addresses...)
				}
			}
		}
		return ips, len(ips) > 0 || host == ""
	}
	h := mdns.HandlerFunc(func(w mdns.ResponseWriter, m *mdns.Msg) {
		r := new(mdns.Msg)
		r.SetReply(m)
		r.Authoritative = true
		for _, q := range m.Question {
			ips, found := lookup(q.Name)
			if !found {
				r.Rcode = mdns.RcodeNameError
			}
			for _, ip := range ips {
				if a := net.ParseIP(ip).To4(); a != nil && q.Qtype == mdns.TypeA {
					r.Answer = append(r.Answer, &mdns.A{Hdr: mdns.RR_Header{Name: q.Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 1}, A: a})
				}
			}
		}
		_ = w.WriteMsg(r)
	})
	go func() { log.Fatal((&mdns.Server{Addr: *addr, Net: "tcp", Handler: h}).ListenAndServe()) }()
	log.Fatal((&mdns.Server{Addr: *addr, Net: "udp", Handler: h}).ListenAndServe())
}
