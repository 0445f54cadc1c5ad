package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// script is a health.lua, run for gitops-engine as Argo CD's own util/lua runs one that an
// administrator has written: the same interpreter, no libraries but base and table (so no string), the
// resource as `obj`, one second. Argo CD's package itself would bring 550 more to compile.
type script string

func (text script) GetResourceHealth(obj *unstructured.Unstructured) (*health.HealthStatus, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	libraries := map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	}
	for _, name := range []string{lua.LoadLibName, lua.BaseLibName, lua.TabLibName} {
		call := lua.P{Fn: state.NewFunction(libraries[name]), Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	limited, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limited)
	state.SetGlobal("obj", value(state, obj.Object))
	if err := state.DoString(string(text)); err != nil {
		return nil, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return nil, fmt.Errorf("the script returned no table but a %s", state.Get(-1).Type())
	}
	found := &health.HealthStatus{
		Status:  health.HealthStatusCode(lua.LVAsString(table.RawGetString("status"))),
		Message: lua.LVAsString(table.RawGetString("message")),
	}
	if !valid[found.Status] {
		return nil, fmt.Errorf("Argo CD knows no health %q", found.Status)
	}
	return found, nil
}

var valid = map[health.HealthStatusCode]bool{
	health.HealthStatusProgressing: true,
	health.HealthStatusHealthy:     true,
	health.HealthStatusSuspended:   true,
	health.HealthStatusDegraded:    true,
}

// value is Argo CD's decodeValue: JSON as Lua has it.
func value(state *lua.LState, raw any) lua.LValue {
	switch converted := raw.(type) {
	case bool:
		return lua.LBool(converted)
	case float64:
		return lua.LNumber(converted)
	case int64:
		return lua.LNumber(converted)
	case string:
		return lua.LString(converted)
	case json.Number:
		return lua.LString(converted)
	case []any:
		list := state.CreateTable(len(converted), 0)
		for _, item := range converted {
			list.Append(value(state, item))
		}
		return list
	case map[string]any:
		table := state.CreateTable(0, len(converted))
		for key, item := range converted {
			table.RawSetString(key, value(state, item))
		}
		return table
	}
	return lua.LNil
}
