# SPDX-License-Identifier: Apache-2.0
"""The manifests of sidecar/deploy: how they are read, what they must say, and what of them has to
be put differently for podman 4.3."""
import copy
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "sidecar" / "deploy"

# Volume types that the restricted Pod Security Standard allows.
RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral",
                      "persistentVolumeClaim", "projected", "secret"}
PROBES = ("livenessProbe", "readinessProbe")
PROBE_PATHS = {"livenessProbe": {"/live"},
               "readinessProbe": {"/live", "/ready"}}
STANDARD_VARIABLES = {"OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"}
REFERENCE = re.compile(r"\$\(([A-Za-z0-9_]+)\)")
REGION_BYTES = 8 << 20  # of a shim with default options, rounded up


def load(name):
    """All documents of a file."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def pod_of(documents):
    """The one pod, or pod template, of some documents: (kind, pod specification)."""
    found = [(document["kind"], document["spec"]) for document in documents
             if document["kind"] in ("Pod", "DaemonSet")]
    (kind, spec), = found
    return kind, spec if kind == "Pod" else spec["template"]["spec"]


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def container(spec, name):
    one, = [item for item in containers(spec) if item["name"] == name]
    return one


def quantity_bytes(text):
    number, unit = re.fullmatch(r"(\d+)(Ki|Mi|Gi)?", str(text)).groups()
    return int(number) << {None: 0, "Ki": 10, "Mi": 20, "Gi": 30}[unit]


# ---- rules: each yields what is wrong, in words --------------------------------------------------


def pod_security(kind, spec):
    """The restricted Pod Security Standard, field by field. Only a DaemonSet has a hostPath."""
    whole = spec.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if spec.get(field):
            yield f"{field} is set"
    for volume in spec.get("volumes", []):
        types = set(volume) - {"name"}
        if not types <= RESTRICTED_VOLUMES | ({"hostPath"} if kind == "DaemonSet" else set()):
            yield f"volume {volume['name']} is of type {types}"
    for item in containers(spec):
        own = item.get("securityContext", {})
        either = {**whole, **own}
        wanted = {"runAsNonRoot": True, "allowPrivilegeEscalation": False,
                  "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
                  "seccompProfile": {"type": "RuntimeDefault"}}
        for field, value in wanted.items():
            if either.get(field) != value:
                yield f"{item['name']}: {field} is {either.get(field)}, not {value}"
        if not either.get("runAsUser"):
            yield f"{item['name']}: runAsUser is {either.get('runAsUser')}"
        if own.get("privileged"):
            yield f"{item['name']}: privileged"
        if any("hostPort" in port for port in item.get("ports", [])):
            yield f"{item['name']}: hostPort"


def sharing(kind, spec):
    """One region directory: memory, large enough, written by the forwarder, read by the sidecar."""
    side = container(spec, "fwdscope")
    mounts = {mount["name"]: mount for mount in side["volumeMounts"]}
    variables = {item["name"]: item.get("value") for item in side["env"]}
    mount = mounts.get("fwdscope", {})
    if not mount.get("readOnly"):
        yield "the sidecar's region is not mounted read-only"
    if mount.get("mountPath") != variables.get("FWDSCOPE_DIR"):
        yield "the sidecar's FWDSCOPE_DIR is not where the region is mounted"
    volume, = [item for item in spec["volumes"] if item["name"] == "fwdscope"]
    if kind == "DaemonSet":
        if volume.get("hostPath") != {"path": "/run/fwdscope", "type": "Directory"}:
            yield "the host's directory is not /run/fwdscope"
        return
    memory = volume.get("emptyDir", {})
    if memory.get("medium") != "Memory":
        yield "the region's volume is not memory"
    # One that lives, one kept as evidence, one that is being made.
    if quantity_bytes(memory.get("sizeLimit", 0)) < 3 * REGION_BYTES:
        yield "the region's volume is too small for three regions"
    forwarder = container(spec, "forwarder")
    theirs, = [item for item in forwarder["volumeMounts"] if item["name"] == "fwdscope"]
    if theirs.get("readOnly"):
        yield "the forwarder cannot write its region"
    if {"name": "FWDSCOPE_DIR", "value": theirs["mountPath"]} not in forwarder["env"]:
        yield "the forwarder's FWDSCOPE_DIR is not where the region is mounted"
    users = [item["securityContext"].get("runAsUser") for item in (side, forwarder)]
    if users[0] == users[1]:
        yield "sidecar and forwarder have one uid: the sidecar could change the region"
    whole = spec["securityContext"]
    if not whole.get("fsGroup") or whole.get("fsGroup") != whole.get("runAsGroup"):
        yield "sidecar and forwarder have no group in common with the volume"


def probing(kind, spec):
    """Probes dial the probe listener, and nothing about the forwarder restarts the sidecar."""
    side = container(spec, "fwdscope")
    arguments = side["args"]
    has_listener = "--probe-listen" in arguments
    listen = arguments[arguments.index("--probe-listen") + 1] if has_listener else ""
    if not listen.startswith("0.0.0.0:"):
        yield "no probe listener that a kubelet reaches"
    if "startupProbe" in side:
        yield "a startupProbe: the forwarder would wait for it"
    for probe in PROBES:
        if probe not in side:
            if probe != "readinessProbe":
                yield f"no {probe}"
            continue
        get = side[probe]["httpGet"]
        if str(get["port"]) != listen.rpartition(":")[2]:
            yield f"{probe} dials {get['port']}, which is not the probe listener"
        if get["path"] not in PROBE_PATHS[probe]:
            yield f"{probe} asks {get['path']}"
    if "--listen" in arguments or "--insecure-bind" in arguments:
        yield "the admin listener leaves loopback"


def housekeeping(kind, spec):
    """Resources, no token of the API server, and no processor limit that delays a tick."""
    if spec.get("automountServiceAccountToken") is not False:
        yield "an API token is mounted"
    for item in containers(spec):
        resources = item.get("resources", {})
        if set(resources.get("requests", {})) != {"cpu", "memory"}:
            yield f"{item['name']}: requests are {resources.get('requests')}"
        if set(resources.get("limits", {})) != {"memory"}:
            yield f"{item['name']}: limits are {resources.get('limits')}"


def known_words(kind, spec, serve_help):
    """Every flag is one that `fwdscope serve --help` names, every variable one that is read."""
    side = container(spec, "fwdscope")
    if side["args"][0] != "serve":
        yield f"the command is {side['args'][0]}"
    for word in side["args"]:
        if word.startswith("--") and not re.search(rf"{word}\b", serve_help):
            yield f"{word} is no option of serve"
    seen = set()
    for variable in side["env"]:
        name = variable["name"]
        if name.startswith("FWDSCOPE_"):
            flag = "--" + name.removeprefix("FWDSCOPE_").lower().replace("_", "-")
            if name not in serve_help and not re.search(rf"{flag}\b", serve_help):
                yield f"{name} is no variable of serve"
        elif not name.startswith("K8S_") and name not in STANDARD_VARIABLES:
            yield f"{name} is read by nobody"
        # The kubelet expands only what stands before.
        for reference in REFERENCE.findall(variable.get("value", "")):
            if reference not in seen:
                yield f"{name} refers to {reference}, which does not stand before it"
        seen.add(name)


def images(kind, spec, version):
    """The images are those that sidecar/deploy/image makes of this tree."""
    for item in containers(spec):
        name, _, tag = item["image"].rpartition(":")
        if name not in ("localhost/fwdscope", "localhost/fwdscope-example-forwarder"):
            yield f"{item['name']}: image {name}"
        if tag != version:
            yield f"{item['name']}: image of version {tag}, the tree's is {version}"


def faults(kind, spec, serve_help, version):
    """Everything that is wrong with one pod."""
    return [*pod_security(kind, spec), *sharing(kind, spec), *probing(kind, spec),
            *housekeeping(kind, spec), *known_words(kind, spec, serve_help),
            *images(kind, spec, version)]


# ---- podman --------------------------------------------------------------------------------------

# What a cluster would say of a pod.
POD_FIELDS = {"metadata.namespace": "fwdscope", "spec.nodeName": "node-1",
              "metadata.uid": "00000000-0000-4000-8000-000000000001"}


def for_podman(spec, name, volumes, restart=None):
    """The pod as podman 4.3 can run it. Everything not named here stays as it is shipped:

    - volumes: podman knows no memory medium, size limit or fsGroup: host directories instead, that
      the test makes with that medium, limit and group; `volumes` maps names to them.
    - probes: podman would run curl inside the container; the test asks as a kubelet does.
    - variables: podman knows not all fieldRefs and expands no $(NAME): both done here.
    - images are never pulled.
    - restartPolicy: where a test starts a container again itself.
    """
    spec = copy.deepcopy(spec)
    for volume in spec["volumes"]:
        for kind in set(volume) - {"name"}:
            del volume[kind]
        volume["hostPath"] = {"path": str(volumes[volume["name"]]), "type": "Directory"}
    fields = {**POD_FIELDS, "metadata.name": name}
    for item in containers(spec):
        item["imagePullPolicy"] = "Never"
        for probe in PROBES:
            item.pop(probe, None)
        values = {}
        for variable in item["env"]:
            source = variable.pop("valueFrom", None)
            if source is not None:
                variable["value"] = fields[source["fieldRef"]["fieldPath"]]
            variable["value"] = REFERENCE.sub(lambda found: values[found[1]], variable["value"])
            values[variable["name"]] = variable["value"]
    if restart is not None:
        spec["restartPolicy"] = restart
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
