-- How Argo CD sees a BrokerCluster: by its conditions, and by nothing else.
-- Into the ConfigMap argocd-cm, as argocd-cm.yaml beside this file has it.
local status = obj.status or {}
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end

local function is(kind, value)
  return found[kind] ~= nil and found[kind].status == value
end

local function tell(health, kind)
  return {status = health, message = found[kind].message}
end

-- These say that a cluster which had formed serves nobody. Provisioning, Electing and Waking pass by themselves.
local broken = {NoQuorum = true, NoBrokerAnswers = true, NoBrokerReady = true, StaleLeader = true}
-- These wait for a person or for the time of day.
local held = {AwaitingApproval = true, OutsideWindow = true}

if found.Ready == nil or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "Waiting for the operator."}
end
if is("Stalled", "True") then
  return tell("Degraded", "Stalled")
end
if is("Ready", "False") and broken[found.Ready.reason] then
  return tell("Degraded", "Ready")
end
if is("Paused", "True") then
  return tell("Suspended", "Paused")
end
if is("UpToDate", "False") and held[found.UpToDate.reason] then
  return tell("Suspended", "UpToDate")
end
if is("Reconciling", "True") then
  return tell("Progressing", "Reconciling")
end
if is("Ready", "True") then
  return tell("Healthy", "Ready")
end
if found.Ready.reason == "Hibernated" then
  return tell("Suspended", "Ready")
end
return tell("Progressing", "Ready")
