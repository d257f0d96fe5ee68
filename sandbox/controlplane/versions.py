"""The versions of the control plane. `sandbox/tools/*/go.mod` name the same ones; a test compares."""

KUBERNETES = "1.37.2"
ETCD = "3.7.3"
KWOK = "0.8.0"
