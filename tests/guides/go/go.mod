// What the Go snippets of the guides may import; go.test.js puts them beside this file.
module guides

go 1.22

require github.com/go-stomp/stomp/v3 v3.1.5
