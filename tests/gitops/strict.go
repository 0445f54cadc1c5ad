package main

import (
	"encoding/json"

	helm "github.com/fluxcd/helm-controller/api/v2"
	kustomization "github.com/fluxcd/kustomize-controller/api/v1"
	source "github.com/fluxcd/source-controller/api/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

// kinds are the types that the tools' own controllers read.
var kinds = map[string]func() any{
	"helm.toolkit.fluxcd.io/v2/HelmRelease":        func() any { return &helm.HelmRelease{} },
	"kustomize.toolkit.fluxcd.io/v1/Kustomization": func() any { return &kustomization.Kustomization{} },
	"source.toolkit.fluxcd.io/v1/GitRepository":    func() any { return &source.GitRepository{} },
	"monitoring.coreos.com/v1/PodMonitor":          func() any { return &monitoring.PodMonitor{} },
	"monitoring.coreos.com/v1/PrometheusRule":      func() any { return &monitoring.PrometheusRule{} },
}

// complaint says what is wrong with a manifest: a kind nobody knows, a field that its type lacks.
func complaint(raw object) string {
	version, _ := raw["apiVersion"].(string)
	kind, _ := raw["kind"].(string)
	make, known := kinds[version+"/"+kind]
	if !known {
		return "no type for " + version + "/" + kind
	}
	text, err := json.Marshal(raw)
	if err != nil {
		return err.Error()
	}
	if err := yaml.UnmarshalStrict(text, make()); err != nil {
		return err.Error()
	}
	return ""
}
