// A broadcast server with topics on uWebSockets, as its users write one: the library keeps topics and fans out.
// Speaks the load test's `bare` dialect: `SUB a b`, `PUB a` and the payload on the next line; messages go out as payloads alone.
//   uwebsockets --port-file FILE [--deflate shared|dedicated]

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "App.h"

namespace {

struct Nothing {};
using Socket = uWS::WebSocket<false, true, Nothing>;

// The default of Belfry's `outbox_bytes`. Beyond it uWebSockets drops messages.
constexpr unsigned OUTBOX_BYTES = 1 << 20;

template <typename Visit>
void each_word(std::string_view words, Visit visit) {
  while (!words.empty()) {
    size_t end = words.find(' ');
    if (end != 0) visit(words.substr(0, end));
    words.remove_prefix(end == std::string_view::npos ? words.size() : end + 1);
  }
}

void take(uWS::App &app, Socket *socket, std::string_view text, bool compress) {
  size_t line = text.find('\n');
  if (text.starts_with("PUB ") && line != std::string_view::npos) {
    app.publish(text.substr(4, line - 4), text.substr(line + 1), uWS::OpCode::TEXT, compress);
  } else if (text.starts_with("SUB ")) {
    each_word(text.substr(4), [&](std::string_view topic) { socket->subscribe(topic); });
    socket->send("SUB", uWS::OpCode::TEXT);
  } else {
    socket->end(1008, "write SUB or PUB");
  }
}

// Renamed into place, so that a reader sees the whole address or no file.
bool tell_port(const std::string &file, int port) {
  const std::string fresh = file + ".new";
  FILE *out = std::fopen(fresh.c_str(), "w");
  if (!out) return false;
  std::fprintf(out, "127.0.0.1:%d\n", port);
  return std::fclose(out) == 0 && std::rename(fresh.c_str(), file.c_str()) == 0;
}

}  // namespace

int main(int count, char **arguments) {
  std::string port_file, deflate;
  for (int at = 1; at + 1 < count; at += 2) {
    if (!std::strcmp(arguments[at], "--port-file")) port_file = arguments[at + 1];
    if (!std::strcmp(arguments[at], "--deflate")) deflate = arguments[at + 1];
  }
  const bool compress = !deflate.empty();
  if (port_file.empty() || (compress && deflate != "shared" && deflate != "dedicated")) {
    std::fputs("usage: uwebsockets --port-file FILE [--deflate shared|dedicated]\n", stderr);
    return 1;
  }
  uWS::App app;
  uWS::App::WebSocketBehavior<Nothing> behaviour;
  if (compress) behaviour.compression = deflate == "shared" ? uWS::SHARED_COMPRESSOR : uWS::DEDICATED_COMPRESSOR;
  behaviour.maxPayloadLength = 1 << 20;
  behaviour.maxBackpressure = OUTBOX_BYTES;
  behaviour.message = [&](Socket *socket, std::string_view text, uWS::OpCode) { take(app, socket, text, compress); };
  app.ws<Nothing>("/*", std::move(behaviour));
  bool listens = false;
  app.listen("127.0.0.1", 0, [&](us_listen_socket_t *listener) {
    listens = listener && tell_port(port_file, us_socket_local_port(0, reinterpret_cast<us_socket_t *>(listener)));
  });
  if (!listens) {
    std::fputs("uwebsockets: can't listen, or can't write the port file\n", stderr);
    return 1;
  }
  app.run();
}
