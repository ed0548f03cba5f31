module rehearsal/router

go 1.26.6

require (
	github.com/llm-d/llm-d-inference-scheduler v0.7.1
	github.com/llm-d/llm-d-kv-cache v0.8.1
)

tool (
	github.com/llm-d/llm-d-inference-scheduler/cmd/epp
	github.com/llm-d/llm-d-inference-scheduler/cmd/pd-sidecar
)
