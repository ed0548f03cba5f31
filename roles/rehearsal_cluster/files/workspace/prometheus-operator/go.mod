module rehearsal/prometheus-operator

go 1.26.6

require (
	github.com/prometheus-operator/prometheus-operator v0.83.0
)

tool (
	github.com/prometheus-operator/prometheus-operator/cmd/operator
	github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader
)
