module rehearsal/simulator

go 1.26.6

require (
	github.com/llm-d/llm-d-inference-sim v0.10.2
)

tool (
	github.com/llm-d/llm-d-inference-sim/cmd/llm-d-inference-sim
)
