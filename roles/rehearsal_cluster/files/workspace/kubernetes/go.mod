module rehearsal/kubernetes

go 1.26.6

require (
	k8s.io/kubernetes v1.36.3
)

tool (
	k8s.io/kubernetes/cmd/kubectl
	k8s.io/kubernetes/cmd/kube-apiserver
	k8s.io/kubernetes/cmd/kube-controller-manager
	k8s.io/kubernetes/cmd/kube-scheduler
	k8s.io/kubernetes/cmd/kubelet
	k8s.io/kubernetes/cmd/kube-proxy
)
