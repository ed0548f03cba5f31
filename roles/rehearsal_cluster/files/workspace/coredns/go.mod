module rehearsal/coredns

go 1.26.6

require (
	github.com/coredns/coredns v1.14.6
)
