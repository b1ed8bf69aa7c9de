#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shipped image and manifests, run as real pods by podman kube play.

The volumes of a pod are directories of the host that the test makes as a kubelet would: tmpfs with
the manifest's size limit, group of the pod. A pod has no network but loopback; 127.0.0.2 stands for
the pod's address, which a kubelet dials.
"""
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness
import manifests
import otlp_rules
import podman
from harness import wait_until
from manifests import container, load, pod_of

POD_ADDRESS = "127.0.0.2"
SAMPLE_LINES = len((manifests.DEPLOY / "example" / "sample.log").read_text().splitlines())
STARTS = 3

engine = None


def figure(text):
    """On a line of its own, whatever the runner has printed of this one."""
    print(f"\nfigure: {text}", flush=True)


def setUpModule():
    global engine
    podman.skip_unless_machine_can()
    scratch = tempfile.mkdtemp(prefix="fwdscope-pods-")
    unittest.addModuleCleanup(shutil.rmtree, scratch)
    engine = podman.Engine(scratch)
    unittest.addModuleCleanup(engine.close)
    said = engine.build_images(podman.build_release())
    for image, size, files in re.findall(r"^localhost/(\S+): (\S+ MB) in (\d+) files", said, re.M):
        figure(f"image {image}: {size}, {files} files, none of them a shell")


def proc_status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def mounts(pid):
    """Mount point -> (device, options of the mount)."""
    lines = pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return {line.split()[4]: (line.split()[2], line.split()[5].split(",")) for line in lines}


class PodCase(unittest.TestCase):
    """A pod of the shipped sidecar.yaml; `size` and `restart` for the tests that are about them."""

    def play(self, size=None, restart=None):
        _, spec = pod_of(load("sidecar.yaml"))
        group = spec["securityContext"]["fsGroup"]
        volume, = [item for item in spec["volumes"] if item["name"] == "fwdscope"]
        limit = manifests.quantity_bytes(size or volume["emptyDir"]["sizeLimit"])
        name = "pod-" + self.id().rpartition(".")[2].removeprefix("test_").replace("_", "-")
        self.regions, self.logs = self.directory(f"size={limit},mode=2770,gid={group}"), \
            self.directory(f"mode=2770,gid={group}")
        pod = podman.Pod(engine, manifests.for_podman(
            spec, name, {"fwdscope": self.regions, "logs": self.logs}, restart))
        self.addCleanup(pod.remove)
        return pod

    def directory(self, options):
        path = pathlib.Path(tempfile.mkdtemp(dir=engine.scratch))
        podman.mount_tmpfs(path, options)
        self.addCleanup(subprocess.run, ["umount", "--lazy", path], check=True)
        return path

    def subscribe(self, pod):
        with pod.network():
            subscriber = harness.Subscriber(9090, backlog=300)
        self.addCleanup(subscriber.close)
        return subscriber

    def write_lines(self, count):
        """The application of the pod logs."""
        with open(self.logs / "app.log", "a") as log:
            os.chmod(log.fileno(), 0o644)
            log.writelines(f"2024-01-31 10:11:12 INFO line {i}\n" for i in range(count))

    def delivered(self):
        path = self.logs / "delivered.ndjson"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def await_delivered(self, count):
        wait_until(lambda: self.delivered() >= count, what=f"{count} lines delivered")
        self.assertEqual(self.delivered(), count)

    def await_served(self, pod, count):
        """The sidecar says that `count` lines were delivered."""
        def output_lines():
            status = pod.status()
            pipelines = status["pipelines"] if status else []
            return [pipeline["outputs"][0]["lines_total"] for pipeline in pipelines]
        wait_until(lambda: output_lines() == [count], what=f"{count} lines, last {output_lines()}")


class Running(PodCase):
    def test_two_strangers_over_one_volume(self):
        """Both pid 1, two uids, no capability; one writes the region, the other reads it."""
        pod = self.play()
        self.write_lines(100)
        self.await_delivered(SAMPLE_LINES + 100)
        self.await_served(pod, SAMPLE_LINES + 100)
        status = pod.status()
        self.assertEqual((status["writer"]["state"], status["writer"]["pid"]), ("alive", 1))
        self.assertEqual(pod.ready(), (200, "all_components_healthy"))

        pids = {name: pod.pid(name) for name in ("forwarder", "fwdscope")}
        for name, uid in (("forwarder", "10001"), ("fwdscope", "65532")):
            with self.subTest(name):
                seen = proc_status(pids[name])
                self.assertEqual(seen["NSpid"][-1], "1")
                self.assertEqual(set(seen["Uid"]), {uid})
                self.assertEqual(set(seen["Gid"]), {"65532"})
                for which in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                    self.assertEqual(int(seen[which][0], 16), 0, which)
                self.assertEqual(seen["NoNewPrivs"], ["1"])
                self.assertEqual(seen["Seccomp"], ["2"])
                self.assertIn("ro", mounts(pids[name])["/"][1])
        theirs, ours = (mounts(pids[name])["/run/fwdscope"] for name in ("forwarder", "fwdscope"))
        self.assertEqual(theirs[0], ours[0], "one file system")
        self.assertIn("rw", theirs[1])
        self.assertIn("ro", ours[1])
        region, = self.regions.glob("*.fwdscope")
        seen = region.stat()
        self.assertEqual((seen.st_uid, seen.st_gid, seen.st_mode & 0o777), (10001, 65532, 0o640))
        # Not even root writes through the sidecar's mount.
        with self.assertRaisesRegex(OSError, "Read-only"):
            os.open(f"/proc/{pids['fwdscope']}/root/run/fwdscope/{region.name}", os.O_RDWR)

    def test_identity(self):
        """Every document of the forwarder says which pod it is about."""
        pod = self.play()
        pod.await_ready(200, "all_components_healthy")
        subscriber = self.subscribe(pod)
        subscriber.await_documents(1, "metrics")
        said, = [resource for resource, scope, metric in otlp_rules.metrics(
            subscriber.documents("metrics")[-1:]) if metric["name"] == "forwarder.uptime_seconds"]
        wanted = {"service.name": "example-forwarder", "k8s.pod.name": pod.name,
                  "k8s.pod.uid": manifests.POD_FIELDS["metadata.uid"],
                  "k8s.namespace.name": manifests.POD_FIELDS["metadata.namespace"],
                  "k8s.node.name": manifests.POD_FIELDS["spec.nodeName"],
                  "k8s.container.name": "forwarder"}
        self.assertEqual({key: said.get(key) for key in wanted}, wanted)

    def test_kubelet_probes(self):
        """The pod's address, also as Host: answered by the probe listener, and by it alone."""
        pod = self.play()
        pod.await_ready(200, "all_components_healthy")
        _, spec = pod_of(load("sidecar.yaml"))
        side = container(spec, "fwdscope")
        with pod.network():
            get = side["livenessProbe"]["httpGet"]
            answer = podman.ask(POD_ADDRESS, get["port"], get["path"],
                                f"{POD_ADDRESS}:{get['port']}")
            self.assertEqual((answer.status, answer.json()["status"]), (200, "live"))
            for path in ("/ready", "/forwarder/live"):
                self.assertEqual(podman.ask(POD_ADDRESS, 9091, path, POD_ADDRESS).status, 200)
            for path in ("/", "/admin/v1/status", "/admin/v1/config", "/admin/v1/telemetry"):
                answer = podman.ask(POD_ADDRESS, 9091, path, POD_ADDRESS)
                self.assertEqual(answer.status, 404, path)
                self.assertNotIn(b"example-forwarder", answer.body)
            # The admin listener: not on the pod's address, and not for its name.
            self.assertIsNone(podman.ask(POD_ADDRESS, 9090, "/live", f"{POD_ADDRESS}:9090"))
            for path in ("/live", "/admin/v1/status"):
                refused = podman.ask("127.0.0.1", 9090, path, f"{POD_ADDRESS}:9090")
                self.assertEqual(refused.status, 403, path)
                self.assertIn(b"Host", refused.body)

    def test_debug_container(self):
        """As kubectl debug --custom=debug.yaml --target=forwarder: nothing was switched on before,
        and the forwarder does not notice."""
        pod = self.play()
        self.await_delivered(SAMPLE_LINES)
        forwarder = pod.pid("forwarder")
        profile, = load("debug.yaml")
        pod.debug("debug", profile, {"fwdscope": self.regions}, "serve", "--listen",
                  "127.0.0.1:9095")
        def status():
            with pod.network():
                answer = podman.ask("127.0.0.1", 9095, "/admin/v1/status", "127.0.0.1:9095")
            return answer and answer.json()
        seen = wait_until(status, what="an answer of the debug container")
        self.assertEqual(seen["writer"]["state"], "alive")
        self.assertEqual(*(os.readlink(f"/proc/{pod.pid(name)}/ns/pid")
                           for name in ("debug", "forwarder")))
        self.assertIn("follows /usr/share/forwarder/sample.log",
                      pod.execute("debug", "/usr/bin/fwdscope", "dump", seen["region"]["path"]))
        pod.stop("debug")
        self.assertEqual(pod.inspect("debug")["State"]["ExitCode"], 0)
        self.assertEqual(pod.pid("forwarder"), forwarder)

    def test_daemonset_sees_a_forwarder_of_the_host(self):
        """The pod of the DaemonSet over a directory where a process of the host has its region."""
        _, spec = pod_of(load("daemonset.yaml"))
        group = spec["securityContext"]["runAsGroup"]
        regions = self.directory(f"size=24m,mode=2770,gid={group}")
        scratch = tempfile.mkdtemp(dir=engine.scratch)
        patient = harness.Patient(scratch, "--dir", regions)
        self.addCleanup(patient.abandon)
        self.assertTrue(patient.is_on, patient.detail)
        patient.pipeline()
        patient.do("progress", "out", 17, 170)
        pod = podman.Pod(engine, manifests.for_podman(spec, "pod-of-a-daemonset",
                                                      {"fwdscope": regions}))
        self.addCleanup(pod.remove)
        self.await_served(pod, 17)
        self.assertEqual(pod.status()["writer"]["pid"], patient.pid)
        patient.quit()
        pod.await_ready(503, "writer_exited")


class Ends(PodCase):
    def test_forwarder_killed(self):
        """SIGKILL inside its container: crashed with the next tick, evidence, then a new life."""
        pod = self.play(restart="Never")
        self.write_lines(100)
        self.await_served(pod, SAMPLE_LINES + 100)
        region, = self.regions.glob("*.fwdscope")
        killed = time.monotonic()
        pod.kill("forwarder")
        ticks = pod.status()["sampler"]["ticks"]
        status = wait_until(lambda: (now := pod.status())["sampler"]["ticks"] > ticks and now,
                            what="a tick")
        took = time.monotonic() - killed
        self.assertEqual(status["sampler"]["ticks"], ticks + 1)
        self.assertEqual(status["writer"]["state"], "crashed", status["writer"])
        self.assertEqual(pod.ready(), (503, "writer_crashed"))
        figure(f"SIGKILL in the container to the verdict crashed: {took:.1f} s, interval "
               f"{status['sampler']['interval_ms'] / 1000:g} s")

        # The evidence: over the stream, in the status and by a command in the sidecar's container.
        self.assertEqual(status["pipelines"][0]["outputs"][0]["lines_total"], SAMPLE_LINES + 100)
        subscriber = self.subscribe(pod)
        wait_until(lambda: any("app.log" in body for body in subscriber.log_bodies()),
                   what="its last lines")
        points = otlp_rules.points(subscriber.documents("metrics"), "forwarder.output_lines")
        self.assertEqual(otlp_rules.number_of(points[-1]), SAMPLE_LINES + 100)
        said = pod.execute("fwdscope", "/usr/bin/fwdscope", "dump",
                           f"/run/fwdscope/{region.name}")
        self.assertIn("crashed", said)
        self.assertIn("follows /var/log/app/app.log", said)

        # The next life is the next generation, and the evidence stays beside it.
        pod.start("forwarder")
        pod.await_ready(200, "all_components_healthy")
        status = pod.status()
        self.assertEqual((status["writer"]["generation"], status["writer"]["pid"]), (2, 1))
        life, = status["forwarders"]
        self.assertEqual((life["writer"]["state"], life["previous"]["writer"]["state"]),
                         ("alive", "crashed"))
        self.assertTrue(region.exists())

    def test_restarts_as_shipped(self):
        """restartPolicy Always, as the manifest has it: whichever dies comes back by itself."""
        pod = self.play()
        pod.await_ready(200, "all_components_healthy")
        forwarder, sidecar = pod.pid("forwarder"), pod.pid("fwdscope")

        pod.kill("fwdscope")
        wait_until(lambda: pod.pid("fwdscope") not in (0, sidecar), what="a new sidecar")
        pod.await_ready(200, "all_components_healthy")
        self.assertEqual(pod.pid("forwarder"), forwarder)
        self.assertEqual(pod.status()["writer"]["generation"], 1)

        sidecar = pod.pid("fwdscope")
        pod.kill("forwarder")
        wait_until(lambda: (now := pod.status()) and now["writer"]["generation"] == 2,
                   what="the second generation")
        pod.await_ready(200, "all_components_healthy")
        self.assertEqual(pod.pid("fwdscope"), sidecar)

    def test_lines_flow_without_the_sidecar(self):
        """The sidecar stopped: the same forwarder delivers on, and the gap is told afterwards."""
        pod = self.play(restart="Never")
        self.write_lines(100)
        self.await_served(pod, SAMPLE_LINES + 100)
        forwarder = pod.pid("forwarder")
        pod.stop("fwdscope")
        self.assertEqual(pod.inspect("fwdscope")["State"]["ExitCode"], 0)
        self.assertIsNone(pod.admin("/live"))
        self.write_lines(300)
        self.await_delivered(SAMPLE_LINES + 400)
        pod.start("fwdscope")
        self.await_served(pod, SAMPLE_LINES + 400)
        self.assertEqual(pod.pid("forwarder"), forwarder)
        self.assertEqual(pod.status()["writer"]["generation"], 1)

    def test_volume_too_small(self):
        """No room for a region: one line says why, the forwarder does its work, nothing is left."""
        pod = self.play(size="4Mi")
        self.write_lines(100)
        self.await_delivered(SAMPLE_LINES + 100)
        said = pod.logs("forwarder")
        self.assertRegex(said, "runs without diagnostics: cannot allocate [0-9]+ bytes in "
                               "/run/fwdscope: .*enlarge it or configure smaller rings")
        self.assertEqual(list(self.regions.iterdir()), [])
        self.assertEqual(pod.ready(), (503, "region_not_found"))
        with pod.network():
            self.assertEqual(podman.ask(POD_ADDRESS, 9091, "/live", POD_ADDRESS).status, 200)
        self.assertEqual(pod.inspect("forwarder")["RestartCount"], 0)


class Start(PodCase):
    def test_time_to_live(self):
        """From the start of the container's process to the first answer of /live."""
        pod = self.play(restart="Never")
        took = []
        for _ in range(STARTS):
            pod.stop("fwdscope")
            starter = threading.Thread(target=pod.start, args=("fwdscope",))
            starter.start()
            with pod.network():
                wait_until(lambda: podman.ask(POD_ADDRESS, 9091, "/live", POD_ADDRESS),
                           what="/live")
            answered = time.time()
            starter.join()
            started = pathlib.Path(f"/proc/{pod.pid('fwdscope')}/stat").read_text()
            ticks = int(started.rpartition(")")[2].split()[19])
            boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
            took.append((answered - boot) * 1000 - ticks * 1000 / os.sysconf("SC_CLK_TCK"))
        figure(f"start of the container's process to /live: median "
               f"{statistics.median(took):.0f} ms of {STARTS}, worst {max(took):.0f} ms")
        # The startup probe of the manifest allows 30 s.
        self.assertLess(max(took), 30_000)


if __name__ == "__main__":
    program = unittest.main(verbosity=2, exit=False)
    if program.result.testsRun == 0 and program.result.skipped:
        print(f"skipped: {program.result.skipped[0][1]}")
    sys.exit(not program.result.wasSuccessful())
