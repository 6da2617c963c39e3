function greet(name) {
  const greeting = "Hello, " + name + "!";
  return greeting;
}
