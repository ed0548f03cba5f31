module rehearsal/lws

go 1.26.6

require (
	sigs.k8s.io/lws v0.9.0
)

tool (
	sigs.k8s.io/lws/cmd
)
