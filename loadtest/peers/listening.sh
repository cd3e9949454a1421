# Sourced by the scripts of servers that don't write their address themselves.

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# tell_once_listening PORT FILE: writes the file once the port accepts connections, in the background.
tell_once_listening() {
  (
    for _ in $(seq 200); do
      if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
        echo "127.0.0.1:$1" >"$2.new" && mv "$2.new" "$2"
        exit
      fi
      sleep 0.05
    done
  ) &
}
