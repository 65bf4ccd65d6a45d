package guides;

import jakarta.servlet.Filter;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletRequestWrapper;
import java.security.Principal;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;

/** Around the snippets: an application in which everybody is who they say they are, ?user=anna. */
@SpringBootApplication
public class Application {

  public static void main(String[] arguments) {
    SpringApplication.run(Application.class, arguments);
  }

  @Bean
  Filter names() {
    return (request, response, chain) -> chain.doFilter(named((HttpServletRequest) request), response);
  }

  private static HttpServletRequest named(HttpServletRequest request) {
    String user = request.getParameter("user");
    return new HttpServletRequestWrapper(request) {
      @Override
      public Principal getUserPrincipal() {
        return user == null ? null : () -> user;
      }
    };
  }
}
