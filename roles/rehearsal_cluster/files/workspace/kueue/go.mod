module rehearsal/kueue

go 1.26.6

require (
	sigs.k8s.io/kueue v0.19.2
)

tool (
	sigs.k8s.io/kueue/cmd/kueue
)
