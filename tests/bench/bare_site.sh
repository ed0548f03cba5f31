#!/usr/bin/env bash
# The deployment by bare helm and kubectl: the same objects, values and conditions as the playbooks, and nothing else.
# Usage: bare_site.sh NAMESPACE RELEASE CHART VERSION INPUTS; INPUTS holds values.json, secret.json and sets.json.
set -euo pipefail
namespace=$1 release=$2 chart=$3 version=$4 inputs=$5

kubectl create namespace "$namespace"
kubectl apply --namespace "$namespace" --server-side --filename "$inputs/secret.json"
helm upgrade --install "$release" "oci://$chart" --version "$version" --plain-http \
  --namespace "$namespace" --values "$inputs/values.json"
kubectl apply --namespace "$namespace" --server-side --filename "$inputs/sets.json"
kubectl rollout status --namespace "$namespace" --timeout 10m "deployment/$release-epp"
kubectl wait --namespace "$namespace" --timeout 10m --for=condition=Available \
  "leaderworkerset/$release-nvidia-gpu-vllm-prefill" "leaderworkerset/$release-nvidia-gpu-vllm-decode"
kubectl wait --namespace "$namespace" --timeout 10m --for=condition=Ready pod --selector llm-d.ai/guide=wide-ep-lws
