module rehearsal/crane

go 1.26.6

require (
	github.com/google/go-containerregistry v0.21.0
)

tool (
	github.com/google/go-containerregistry/cmd/crane
)
