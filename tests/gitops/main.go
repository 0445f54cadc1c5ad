// Command gitops tells what GitOps tools make of our objects, by their own code.
//
// It reads a JSON question from standard input and writes a JSON answer: test_gitops.py asks,
// quorate_bed.binaries builds. Next: lua.go, strict.go.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync/common"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync/resource"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type object = map[string]any

// compareOptions is Argo CD's common.AnnotationCompareOptions.
const compareOptions = "argocd.argoproj.io/compare-options"

type pair struct {
	Wanted object `json:"wanted"`
	Live   object `json:"live"`
}

// question is what may be asked; each part that is there is answered under the same name.
type question struct {
	// Script is the health.lua for BrokerClusters.
	Script      string                           `json:"script"`
	Health      []object                         `json:"health"`
	Expressions kustomize.HealthCheckExpressions `json:"expressions"`
	Differences []pair                           `json:"differences"`
	Prune       []object                         `json:"prune"`
	Strict      []object                         `json:"strict"`
}

type told struct {
	Argo      health.HealthStatus `json:"argo"`
	Kstatus   string              `json:"kstatus"`
	Evaluated string              `json:"evaluated,omitempty"`
}

type answer struct {
	Health []told `json:"health"`
	// Differences says of each pair whether Argo CD calls it OutOfSync.
	Differences []bool `json:"differences"`
	// Prune says of each object whether Argo CD would delete it where Git has none, and whether it
	// would call the application OutOfSync for it.
	Prune [][2]bool `json:"prune"`
	// Strict has what is wrong with each manifest; an empty text: nothing.
	Strict []string `json:"strict"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	var found answer
	for _, one := range asked.Health {
		health, err := assess(asked, one)
		if err != nil {
			return err
		}
		found.Health = append(found.Health, health)
	}
	for _, one := range asked.Differences {
		result, err := diff.Diff(typed(one.Wanted), typed(one.Live))
		if err != nil {
			return err
		}
		found.Differences = append(found.Differences, result.Modified)
	}
	for _, one := range asked.Prune {
		found.Prune = append(found.Prune, pruned(typed(one)))
	}
	for _, one := range asked.Strict {
		found.Strict = append(found.Strict, complaint(one))
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// typed makes whole numbers int64, as they are in an object that came from an API server.
func typed(raw object) *unstructured.Unstructured {
	text, err := json.Marshal(raw)
	if err != nil {
		panic(err)
	}
	one := &unstructured.Unstructured{}
	if err := one.UnmarshalJSON(text); err != nil {
		panic(err)
	}
	return one
}

func assess(asked question, raw object) (told, error) {
	one := typed(raw)
	seen, err := health.GetResourceHealth(one, script(asked.Script))
	if err != nil {
		return told{}, err
	}
	computed, err := status.Compute(one)
	if err != nil {
		return told{}, err
	}
	found := told{Argo: *seen, Kstatus: string(computed.Status)}
	if asked.Expressions.Current != "" {
		evaluator, err := cel.NewStatusEvaluator(&asked.Expressions)
		if err != nil {
			return told{}, err
		}
		result, err := evaluator.Evaluate(context.Background(), one)
		if err != nil {
			return told{}, err
		}
		found.Evaluated = string(result.Status)
	}
	return found, nil
}

// pruned follows sync_context.go (what may be deleted) and controller/state.go (what is OutOfSync).
func pruned(one *unstructured.Unstructured) [2]bool {
	owned := len(one.GetOwnerReferences()) > 0
	option := resource.GetAnnotationOptionValue(one, common.AnnotationSyncOptions, common.SyncOptionPrune)
	kept := option != nil && *option == common.SyncValueFalse
	ignored := resource.HasAnnotationOption(one, compareOptions, "IgnoreExtraneous")
	return [2]bool{!owned && !kept, !owned && !ignored}
}
