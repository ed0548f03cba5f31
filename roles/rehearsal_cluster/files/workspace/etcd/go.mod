module rehearsal/etcd

go 1.26.6

require (
	go.etcd.io/etcd/server/v3 v3.6.14
)

tool (
	go.etcd.io/etcd/server/v3
)
