module rehearsal/lws-0.7

go 1.26.6

require (
	sigs.k8s.io/lws v0.7.0
)

tool (
	sigs.k8s.io/lws/cmd
)
