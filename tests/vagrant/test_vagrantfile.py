"""The Vagrantfile is valid, and Vagrant makes of it a machine that cannot write to the one it runs on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.vagrant.conftest import InProject

_ROOT = Path(__file__).resolve().parents[2]


def test_vagrant_finds_it_valid(in_project: InProject) -> None:
    assert "validated successfully" in in_project("vagrant", "validate", "--ignore-provider")


def test_a_setting_that_vagrant_does_not_know_is_not_valid(project: Path, in_project: InProject) -> None:
    path = project / "Vagrantfile"
    good = path.read_text()
    path.write_text(good.replace("config.vm.hostname", "config.vm.host_name_of_nobody"))
    with pytest.raises(AssertionError, match="host_name_of_nobody"):
        in_project("vagrant", "validate", "--ignore-provider")
    path.write_text(good)


def test_nothing_comes_back_from_the_machine(settings: dict[str, Any]) -> None:
    folders = settings["folders"]
    shared = {name for name, folder in folders.items() if not folder["disabled"]}
    assert folders["/vagrant"]["disabled"], "the folder that Vagrant shares by itself"
    # rsync copies into the machine, when it is made, and never out of it.
    assert {name: (folders[name]["type"], folders[name]["rsync__auto"]) for name in shared} == {
        "/home/vagrant/fumehood": ("rsync", False)
    }
    assert settings["agents"] == [False, False]
    assert settings["gui"] is False
    assert settings["shared_folders_of_virtualbox"] is False


def test_ssh_is_the_only_way_in_and_from_this_machine_alone(settings: dict[str, Any]) -> None:
    assert [(kind, options["guest"], options["host_ip"]) for kind, options in settings["networks"]] == [
        ("forwarded_port", 22, "127.0.0.1")
    ]


def test_devices_that_reach_the_desktop_are_off(settings: dict[str, Any]) -> None:
    wanted = {
        "--clipboard-mode": "disabled",
        "--draganddrop": "disabled",
        "--audio": "none",
        "--vrde": "off",
        "--usb": "off",
        "--usbehci": "off",
        "--usbxhci": "off",
    }
    assert wanted.items() <= settings["virtualbox"].items()
    libvirt = settings["libvirt"]
    assert (libvirt["graphics_type"], libvirt["video_type"]) == ("none", "none")
    assert libvirt["usb_controller"] == {"model": "none"}
    assert libvirt["qemu_use_agent"] is False


def test_no_registry_of_boxes_is_named(settings: dict[str, Any]) -> None:
    assert (settings["box"], settings["box_url"]) == ("debian/bookworm64", "")
    assert "://" not in (_ROOT / "Vagrantfile").read_text()


def test_the_script_that_it_runs_is_there(settings: dict[str, Any]) -> None:
    ((kind, inline, privileged),) = settings["provisioners"]
    assert (kind, privileged) == ("shell", False)
    script = _ROOT / Path(inline).relative_to("/home/vagrant/fumehood")
    assert os.access(script, os.X_OK)
