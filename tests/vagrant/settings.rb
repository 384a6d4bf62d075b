# Prints, as JSON, what Vagrant itself makes of the Vagrantfile in the directory ARGV[0]. For VirtualBox by Vagrant's own
# code; libvirt is a plugin that need not be here, so there its block's settings are printed as they stand.
require "json"
require "vagrant"

class Recorder
  def initialize
    @settings = {}
  end
  attr_reader :settings

  def method_missing(name, *arguments, **named)
    @settings[name.to_s.delete_suffix("=")] = named.empty? ? arguments.first : named
  end

  def respond_to_missing?(*)
    true
  end
end

class OnlyLibvirt
  attr_reader :recorded

  def vm
    self
  end

  def provider(name)
    return unless name == "libvirt"
    @recorded = Recorder.new
    yield @recorded
  end

  def method_missing(*)
    self
  end

  def respond_to_missing?(*)
    true
  end
end

environment = Vagrant::Environment.new(cwd: ARGV[0])
config = environment.vagrantfile.machine_config(:default, :virtualbox, nil, nil, false)[:config]
provider = config.vm.get_provider_config(:virtualbox)
only = OnlyLibvirt.new
Vagrant.define_singleton_method(:configure) { |_version, &block| block.call(only) }
load File.join(ARGV[0], "Vagrantfile")

puts JSON.generate(
  box: config.vm.box,
  box_url: config.vm.box_url.to_s,
  folders: config.vm.synced_folders,
  networks: config.vm.networks.map { |kind, options| [kind, options.slice(:host, :guest, :host_ip)] },
  provisioners: config.vm.provisioners.map { |one| [one.type, one.config.inline, one.config.privileged] },
  agents: [config.ssh.forward_agent, config.ssh.forward_x11],
  virtualbox: provider.customizations.map { |_when, words| words.drop(2).map(&:to_s) }.to_h,
  gui: provider.gui,
  shared_folders_of_virtualbox: provider.functional_vboxsf,
  libvirt: only.recorded.settings,
)
