// Copyright: (c) 2026, holdfast.postgres contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package csi is labcsi, a small single-node CSI driver for the lab: controller, node and kubelet registration in one process.
// Volumes are btrfs subvolumes (atomic snapshots) when the data folder lies on btrfs, otherwise plain folders (cp -a, not atomic).
// Faults: a file DATA/faults/<Method> makes that call fail ("fail MESSAGE"), wait ("sleep SECONDS"), or, for CreateSnapshot, report
// readyToUse false as long as the file exists ("notready"). <Method>@<namespace> does so for what belongs to claims of one namespace.
package csi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	reg "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

type object struct {
	ID, Name, Source, Namespace string
	Size                        int64
	Created                     time.Time
}

type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	name, node, data, endpoint string
	btrfs                      bool
	mu                         sync.Mutex
}

func (d *driver) dir(id string) string { return filepath.Join(d.data, "data", filepath.Base(id)) }
func (d *driver) meta(id string) string {
	return filepath.Join(d.data, "meta", filepath.Base(id)+".json")
}
func (d *driver) load(id string) (o object, ok bool) {
	b, err := os.ReadFile(d.meta(id))
	return o, err == nil && json.Unmarshal(b, &o) == nil
}
func (d *driver) save(o object) error {
	b, _ := json.Marshal(o)
	return os.WriteFile(d.meta(o.ID), b, 0o600)
}
func run(args ...string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
func (d *driver) create(dst string) error {
	if d.btrfs {
		if err := run("btrfs", "subvolume", "create", dst); err != nil {
			return err
		}
	} else if err := os.Mkdir(dst, 0o755); err != nil {
		return err
	}
	return os.Chmod(dst, 0o777)
}
func (d *driver) copy(src, dst string, readonly bool) error {
	if !d.btrfs {
		return run("cp", "-a", src, dst)
	}
	if readonly {
		return run("btrfs", "subvolume", "snapshot", "-r", src, dst)
	}
	return run("btrfs", "subvolume", "snapshot", src, dst)
}
func (d *driver) remove(id string) error {
	p := d.dir(id)
	if _, err := os.Stat(p); err == nil {
		if d.btrfs {
			if err := run("btrfs", "subvolume", "delete", p); err != nil {
				return err
			}
		} else if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	_ = os.Remove(d.meta(id))
	return nil
}
func (d *driver) fault(method, namespace string) string {
	for _, name := range []string{method + "@" + namespace, method} {
		if b, err := os.ReadFile(filepath.Join(d.data, "faults", name)); err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	return ""
}

// namespace of the claim or snapshot that a request is about: the sidecars' --extra-create-metadata says it, later calls name the object.
func (d *driver) namespace(req any) string {
	if q, ok := req.(interface{ GetParameters() map[string]string }); ok {
		for _, k := range []string{"csi.storage.k8s.io/pvc/namespace", "csi.storage.k8s.io/volumesnapshot/namespace"} {
			if n := q.GetParameters()[k]; n != "" {
				return n
			}
		}
	}
	id := ""
	if q, ok := req.(interface{ GetVolumeId() string }); ok {
		id = q.GetVolumeId()
	} else if q, ok := req.(interface{ GetSnapshotId() string }); ok {
		id = q.GetSnapshotId()
	}
	o, _ := d.load(id)
	return o.Namespace
}
func (d *driver) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	m := filepath.Base(info.FullMethod)
	if k, v, _ := strings.Cut(d.fault(m, d.namespace(req)), " "); k == "fail" {
		return nil, status.Error(codes.Internal, v)
	} else if k == "sleep" {
		t, _ := time.ParseDuration(v + "s")
		time.Sleep(t)
	}
	r, err := h(ctx, req)
	if m != "Probe" && m != "NodeGetCapabilities" && m != "ControllerGetCapabilities" {
		log.Printf("%s err=%v", m, err)
	}
	return r, err
}
func id(kind, name string) string {
	return fmt.Sprintf("%s-%x", kind, sha256.Sum256([]byte(name)))[:len(kind)+17]
}

// identity

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: d.name, VendorVersion: "1"}, nil
}
func (d *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{{Type: &csi.PluginCapability_Service_{
		Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}}}}, nil
}
func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

// controller

func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	r := &csi.ControllerGetCapabilitiesResponse{}
	for _, t := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME, csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS, csi.ControllerServiceCapability_RPC_CLONE_VOLUME} {
		r.Capabilities = append(r.Capabilities, &csi.ControllerServiceCapability{Type: &csi.ControllerServiceCapability_Rpc{
			Rpc: &csi.ControllerServiceCapability_RPC{Type: t}}})
	}
	return r, nil
}
func (d *driver) ValidateVolumeCapabilities(_ context.Context, q *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: q.VolumeCapabilities}}, nil
}
func (d *driver) CreateVolume(_ context.Context, q *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.Name == "" || len(q.VolumeCapabilities) == 0 {
		return nil, status.Error(codes.InvalidArgument, "name and capabilities are needed")
	}
	size := q.GetCapacityRange().GetRequiredBytes()
	if size == 0 {
		size = 1 << 30
	}
	o, ok := d.load(id("vol", q.Name))
	if !ok {
		o = object{ID: id("vol", q.Name), Name: q.Name, Namespace: d.namespace(q), Size: size, Created: time.Now()}
		_ = d.remove(o.ID)
		src := q.GetVolumeContentSource().GetSnapshot().GetSnapshotId()
		if src == "" {
			src = q.GetVolumeContentSource().GetVolume().GetVolumeId()
		}
		var err error
		if src == "" {
			err = d.create(d.dir(o.ID))
		} else if s, found := d.load(src); !found {
			return nil, status.Errorf(codes.NotFound, "source %s is not there", src)
		} else if s.Size > size {
			return nil, status.Errorf(codes.OutOfRange, "source %s is larger than asked for", src)
		} else {
			o.Source, err = src, d.copy(d.dir(src), d.dir(o.ID), false)
		}
		if err == nil {
			err = d.save(o)
		}
		if err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	} else if o.Size < size {
		return nil, status.Error(codes.AlreadyExists, "a volume of that name but another size is there")
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: o.ID, CapacityBytes: o.Size, ContentSource: q.VolumeContentSource}}, nil
}
func (d *driver) DeleteVolume(_ context.Context, q *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.remove(q.VolumeId); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.DeleteVolumeResponse{}, nil
}
func (d *driver) snapshot(o object) *csi.Snapshot {
	return &csi.Snapshot{SnapshotId: o.ID, SourceVolumeId: o.Source, SizeBytes: o.Size, CreationTime: timestamppb.New(o.Created),
		ReadyToUse: d.fault("CreateSnapshot", o.Namespace) != "notready"}
}
func (d *driver) CreateSnapshot(_ context.Context, q *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, ok := d.load(id("snap", q.Name))
	if !ok {
		v, found := d.load(q.SourceVolumeId)
		if !found {
			return nil, status.Errorf(codes.NotFound, "volume %s is not there", q.SourceVolumeId)
		}
		o = object{ID: id("snap", q.Name), Name: q.Name, Source: q.SourceVolumeId, Namespace: d.namespace(q), Size: v.Size, Created: time.Now()}
		_ = d.remove(o.ID)
		err := d.copy(d.dir(v.ID), d.dir(o.ID), true)
		if err == nil {
			err = d.save(o)
		}
		if err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	return &csi.CreateSnapshotResponse{Snapshot: d.snapshot(o)}, nil
}
func (d *driver) DeleteSnapshot(_ context.Context, q *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.remove(q.SnapshotId); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.DeleteSnapshotResponse{}, nil
}
func (d *driver) ListSnapshots(_ context.Context, q *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	r := &csi.ListSnapshotsResponse{}
	files, _ := filepath.Glob(filepath.Join(d.data, "meta", "snap-*.json"))
	for _, f := range files {
		o, ok := d.load(strings.TrimSuffix(filepath.Base(f), ".json"))
		if ok && (q.SnapshotId == "" || q.SnapshotId == o.ID) && (q.SourceVolumeId == "" || q.SourceVolumeId == o.Source) {
			r.Entries = append(r.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: d.snapshot(o)})
		}
	}
	return r, nil
}

// node

func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.node}, nil
}
func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{}, nil
}
func mounted(p string) bool {
	var a, b syscall.Stat_t
	b64, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || syscall.Stat(p, &a) != nil || syscall.Stat(filepath.Dir(p), &b) != nil {
		return false
	}
	for _, l := range strings.Split(string(b64), "\n") {
		if f := strings.Fields(l); len(f) > 4 && f[4] == p {
			return true
		}
	}
	return false
}
func (d *driver) NodePublishVolume(_ context.Context, q *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if _, ok := d.load(q.VolumeId); !ok {
		return nil, status.Errorf(codes.NotFound, "volume %s is not there", q.VolumeId)
	}
	if !mounted(q.TargetPath) {
		if err := os.MkdirAll(q.TargetPath, 0o755); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		if err := syscall.Mount(d.dir(q.VolumeId), q.TargetPath, "", syscall.MS_BIND, ""); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		if q.Readonly {
			_ = syscall.Mount("", q.TargetPath, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
		}
	}
	return &csi.NodePublishVolumeResponse{}, nil
}
func (d *driver) NodeUnpublishVolume(_ context.Context, q *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	for mounted(q.TargetPath) {
		if err := syscall.Unmount(q.TargetPath, 0); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	if err := os.Remove(q.TargetPath); err != nil && !os.IsNotExist(err) {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// kubelet's plugin registration

type registration struct {
	reg.UnimplementedRegistrationServer
	d *driver
}

func (r registration) GetInfo(context.Context, *reg.InfoRequest) (*reg.PluginInfo, error) {
	return &reg.PluginInfo{Type: reg.CSIPlugin, Name: r.d.name, Endpoint: r.d.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}
func (r registration) NotifyRegistrationStatus(_ context.Context, s *reg.RegistrationStatus) (*reg.RegistrationStatusResponse, error) {
	log.Printf("registered=%v %s", s.PluginRegistered, s.Error)
	return &reg.RegistrationStatusResponse{}, nil
}

func serve(path string, register func(*grpc.Server), opts ...grpc.ServerOption) {
	_ = os.Remove(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		log.Fatal(err)
	}
	s := grpc.NewServer(opts...)
	register(s)
	log.Fatal(s.Serve(l))
}

// Main runs the driver.
func Main() {
	flags := flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	d := &driver{}
	kubelet := flags.String("kubelet", "/var/lib/kubelet", "kubelet's root folder")
	flags.StringVar(&d.name, "name", "hostpath.lab", "driver name")
	flags.StringVar(&d.node, "node", "lab", "node name")
	flags.StringVar(&d.data, "data", "", "data folder")
	_ = flags.Parse(os.Args[1:])
	for _, s := range []string{"data", "meta", "faults"} {
		if err := os.MkdirAll(filepath.Join(d.data, s), 0o755); err != nil {
			log.Fatal(err)
		}
	}
	var fs syscall.Statfs_t
	d.btrfs = syscall.Statfs(d.data, &fs) == nil && fs.Type == 0x9123683e
	d.endpoint = filepath.Join(*kubelet, "plugins", d.name, "csi.sock")
	log.Printf("driver %s data %s btrfs=%v", d.name, d.data, d.btrfs)
	go serve(filepath.Join(*kubelet, "plugins_registry", d.name+"-reg.sock"), func(s *grpc.Server) { reg.RegisterRegistrationServer(s, registration{d: d}) })
	serve(d.endpoint, func(s *grpc.Server) {
		csi.RegisterIdentityServer(s, d)
		csi.RegisterControllerServer(s, d)
		csi.RegisterNodeServer(s, d)
	}, grpc.UnaryInterceptor(d.intercept))
}
