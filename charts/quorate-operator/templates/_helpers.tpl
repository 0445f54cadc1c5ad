{{- define "quorate-operator.name" -}}
{{- if contains "quorate-operator" .Release.Name -}}
{{ .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-quorate-operator" .Release.Name | trunc 53 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "quorate-operator.selector" -}}
app.kubernetes.io/name: quorate-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "quorate-operator.labels" -}}
{{ include "quorate-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* What the operator may do where it looks after clusters. Each rule says what for: no Secrets, no exec. */}}
{{- define "quorate-operator.rules" -}}
# What people ask for: read by every pass, watched so that a change begins one.
- apiGroups: [quorate.dev]
  resources: [brokerclusters]
  verbs: [get, list, watch]
# What they are told.
- apiGroups: [quorate.dev]
  resources: [brokerclusters/status]
  verbs: [patch]
# The objects that a cluster is made of: compared, made and changed by server-side apply (create is what
# an apply of a new object needs). Never deleted: they go with their BrokerCluster, by owner references.
- apiGroups: [""]
  resources: [serviceaccounts, configmaps]
  verbs: [list, watch, create, patch]
# The same for brokers and flanking nodes. Delete: a set that has to be made anew, without its pods, for
# volumes of another kind (storage.replace: Guided).
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [list, watch, create, patch, delete]
# The last spec that could be read. Delete: those before it.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [list, create, patch, delete]
# The same for what holds no data and runs no pods. Delete: what is not asked for any more, here the
# Services of a listener that went.
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch, create, patch, delete]
# How many brokers a drain of Kubernetes nodes may take at a time. Delete: where that is not wanted.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch, delete]
# Who may reach which port of a node.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, patch, delete]
# How many flanking nodes there are, where `flanking.autoscaling` says so.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch, create, patch, delete]
# What is scraped, where `metrics.podMonitor` says so.
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [list, create, patch, delete]
# Pods are made by Kubernetes. Patch: the leader's label, what a broker is told (rack, addresses).
# Delete: a restart.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch, delete]
# Claims are made by Kubernetes, too. Patch: growing, labels, marks against pruning, whose data is on
# them. Delete: those of brokers that have left, where storage.retention.whenScaled says so, and those
# that are given up.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch, patch, delete]
# What happened, for `kubectl describe`.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}
